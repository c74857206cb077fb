"""Training subtomograms: particles lie where they were put, labels are right, seeds decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.preprocess.spectrum import HIGHEST, SHELLS, measured_power
from cryoembed.simulate.density.phantoms import random_phantom
from cryoembed.views.augment import AugmentConfig
from cryoembed.views.imaging import ImagingRanges
from cryoembed.views.masks import MaskShares
from cryoembed.views.rendering import FineTemplate, fine_template, paste, render
from cryoembed.views.subtomograms import (
    NUISANCES,
    SubtomogramConfig,
    SubtomogramPool,
    _Drawn,
    build_pool,
    draw_box_pairs,
    draw_boxes,
    draw_classes,
    draw_triplets,
)

CONFIG = SubtomogramConfig(box_vox=16, phantoms=6, mass_range_kda=(100, 400), seed=1)


@pytest.fixture(scope="module")
def pool() -> SubtomogramPool:
    return build_pool(CONFIG)


def test_rendered_particle_keeps_its_mass_and_lies_at_its_shift() -> None:
    template = random_phantom(np.random.default_rng(0), 5.0, mass_range_kda=(300, 600), resolution=16)
    fine = fine_template(template, 10.0)
    for seed, shift in enumerate([(0.0, 0.0, 0.0), (0.4, -0.3, 0.2)]):
        cube = render(fine, np.random.default_rng(seed), np.array(shift)).numpy()
        assert ndimage.center_of_mass(cube) == pytest.approx(np.array(shift) + cube.shape[0] // 2, abs=0.1)
        assert float(cube.sum()) * 10**3 == pytest.approx(template.integral, rel=0.03)


def test_render_turns_as_simulate_does() -> None:
    from scipy.spatial.transform import Rotation

    from cryoembed.simulate.density.template import rotate

    template = random_phantom(np.random.default_rng(2), 5.0, mass_range_kda=(300, 600), resolution=16)
    rotation = Rotation.random(1, rng=np.random.default_rng(7))[0]
    expected = rotate(template, rotation)
    cube = render(fine_template(template, 10.0), np.random.default_rng(7), np.zeros(3)).numpy()
    centre, half = template.box_vox // 2, min(cube.shape[0] // 2, template.box_vox // 4)
    mine = cube[tuple(slice(cube.shape[0] // 2 - half, cube.shape[0] // 2 + half + 1) for _ in range(3))]
    theirs = expected[tuple(slice(centre - 2 * half, centre + 2 * half + 1, 2) for _ in range(3))]
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.99


def test_pasted_cube_lies_at_its_centre_and_is_cut_at_borders() -> None:
    box, cube = torch.zeros(8, 8, 8), torch.zeros(5, 5, 5)
    cube[2, 2, 2] = 1
    paste(box, cube, np.array([0, 7, 4]))
    assert torch.nonzero(box).tolist() == [[0, 7, 4]]
    paste(box, cube, np.array([30, 0, 0]))
    assert float(box.sum()) == 1


def test_batch_holds_views_of_each_class_and_nuisances_last(pool: SubtomogramPool) -> None:
    noisy = CONFIG.imaging.model_copy(update={"snr": (0.1, 0.3)})  # where noise rules, a box is as its tomogram
    config = CONFIG.model_copy(update={"nuisance_share": 0.4, "imaging": noisy})
    batch = draw_classes(pool, config, np.random.default_rng(0), classes=7, views=3)
    assert batch["input"].shape == (21, 1, 16, 16, 16)
    labels, counts = np.unique(batch["label"].numpy(), return_counts=True)
    assert len(labels) == 7
    assert (counts == 3).all()
    assert labels.max() >= 6
    assert labels.max() < pool.classes == 6 + len(NUISANCES)
    assert float(batch["input"].std()) == pytest.approx(1.0, abs=0.3)


def test_particles_are_bright_in_the_middle_and_gold_brighter(pool: SubtomogramPool) -> None:
    imaging = CONFIG.imaging.model_copy(update={"clean_probability": 1.0, "clip_sigma": (1000.0, 1000.0)})
    config = CONFIG.model_copy(update={"imaging": imaging, "neighbours": 0, "fill": (0.1, 0.1)})
    labels = np.repeat([0, 6, 8], 6)
    boxes = draw_boxes(pool, config, labels, np.random.default_rng(0))
    middle = boxes[:, 5:11, 5:11, 5:11].mean(dim=(1, 2, 3)).reshape(3, 6).mean(dim=1)
    particle, background, gold = middle.tolist()
    assert particle > background + 0.5
    assert gold > 3 * particle


def test_same_seed_gives_the_same_batch(pool: SubtomogramPool) -> None:
    one, two = (draw_classes(pool, CONFIG, np.random.default_rng(3), classes=4, views=2) for _ in range(2))
    assert torch.equal(one["input"], two["input"])
    assert torch.equal(one["label"], two["label"])
    again = build_pool(CONFIG)
    assert torch.equal(again.templates[3].density, pool.templates[3].density)


def test_pairs_are_two_different_views(pool: SubtomogramPool) -> None:
    batch = draw_box_pairs(pool, CONFIG, AugmentConfig(), np.random.default_rng(0), batch=3)
    assert batch["view_a"].shape == batch["view_b"].shape == (3, 1, 16, 16, 16)
    assert not torch.equal(batch["view_a"], batch["view_b"])


def test_structures_join_as_further_classes(pool: SubtomogramPool) -> None:
    extra = random_phantom(np.random.default_rng(0), 5.0, mass_range_kda=(300, 400), resolution=16)
    assert build_pool(CONFIG.model_copy(update={"phantoms": 2}), [extra]).classes == 3 + len(NUISANCES)
    with pytest.raises(ValueError, match="expected 5"):
        build_pool(CONFIG, [random_phantom(np.random.default_rng(0), 10.0, mass_range_kda=(300, 400))])


def test_one_class_is_refused() -> None:
    with pytest.raises((InputError, ValueError)):
        build_pool(
            SubtomogramConfig.model_construct(**{**CONFIG.model_dump(), "phantoms": 1, "imaging": CONFIG.imaging})
        )


def test_negatives_are_of_another_class_of_the_same_size() -> None:
    wide = SubtomogramConfig(box_vox=16, phantoms=12, mass_range_kda=(80, 900), seed=2)
    wide_pool = build_pool(wide)
    assert len(set(wide_pool.size_classes)) > 1
    batch = draw_triplets(wide_pool, wide, np.random.default_rng(0), batch=20)
    anchors, positives, negatives = batch["label"].numpy().reshape(3, 20)
    assert batch["input"].shape == (60, 1, 16, 16, 16)
    assert np.array_equal(anchors, positives)
    assert (anchors != negatives).all()
    assert np.array_equal(wide_pool.size_classes[anchors], wide_pool.size_classes[negatives])
    assert len(set(anchors)) > 5
    assert not torch.equal(batch["input"][:20], batch["input"][20:40])


def test_size_classes_are_the_five_of_the_thesis() -> None:
    templates = tuple(FineTemplate(torch.zeros(1, 1, 1), 1.0, mass) for mass in (10, 39, 41, 199, 300, 700, 1001))
    sizes = SubtomogramPool(templates, (), (), (), torch.zeros(1), 1.0).size_classes
    assert sizes.tolist() == [0, 0, 1, 1, 2, 3, 4]


def test_without_two_classes_of_a_size_nothing_can_be_refined(pool: SubtomogramPool) -> None:
    two = replace(pool, templates=tuple(replace(pool.templates[0], mass_kda=mass) for mass in (100.0, 300.0)))
    with pytest.raises(InputError, match="two classes of one size class"):
        draw_triplets(two, CONFIG, np.random.default_rng(0), batch=2)


OFF = AugmentConfig(noise_probability=0, low_pass_probability=0, high_pass_probability=0, mask_probability=0)


def test_views_that_share_the_image_differ_by_augmentation_only(pool: SubtomogramPool) -> None:
    same = draw_box_pairs(pool, CONFIG, OFF, np.random.default_rng(0), batch=3, share="image")
    assert torch.equal(same["view_a"], same["view_b"])
    noisy = draw_box_pairs(pool, CONFIG, AugmentConfig(), np.random.default_rng(0), batch=3, share="image")
    assert not torch.equal(noisy["view_a"], noisy["view_b"])


def test_views_that_share_the_microscope_lack_the_same_wedge(pool: SubtomogramPool) -> None:
    ranges = {"snr": (0.01, 0.02), "tilt_max_deg": (20.0, 70.0), "axis_jitter_deg": 30.0, "clip_sigma": (50.0, 50.0)}
    config = CONFIG.model_copy(update={"margin_vox": 0, "imaging": CONFIG.imaging.model_copy(update=ranges)})

    def difference(share: str) -> float:
        batch = draw_box_pairs(pool, config, OFF, np.random.default_rng(0), batch=8, share=share)
        a, b = (torch.fft.rfftn(batch[f"view_{v}"], dim=(2, 3, 4)).abs() > 1e-2 for v in "ab")
        return float((a != b).float().mean())

    assert difference("microscope") < 0.02 < 0.1 < difference("nothing")


def test_masked_boxes_hold_the_particle_and_zeros(pool: SubtomogramPool) -> None:
    clean = CONFIG.imaging.model_copy(update={"clean_probability": 1.0, "clip_sigma": (1000.0, 1000.0)})
    plain = CONFIG.model_copy(update={"imaging": clean, "neighbours": 4, "fill": (0.1, 0.1)})
    strict = plain.model_copy(update={"mask_shares": MaskShares(none=0, strict=1), "mask_error_vox": 0.0})
    labels = np.array([0, 1, 2, 3, 6])
    whole, masked = (draw_boxes(pool, settings, labels, np.random.default_rng(0)) for settings in (plain, strict))
    inside = masked != 0
    assert torch.equal(masked[inside], whole[inside])  # the same draws, then masks
    assert float(inside[:4].float().mean()) < 0.5
    assert inside[4].all()  # background has no mask
    for box, rest, kept in zip(masked[:4], whole[:4], inside[:4], strict=True):
        assert float(box[kept].mean()) > float(rest[~kept].mean()) + 0.5


def test_pairs_are_masked_and_cropped_last(pool: SubtomogramPool) -> None:
    config = CONFIG.model_copy(update={"mask_shares": MaskShares(none=0, hull=1)})
    crop = AugmentConfig(crop_probability=1.0, crop_share=(0.5, 0.5))
    masked = draw_box_pairs(pool, config, AugmentConfig(), np.random.default_rng(0), batch=4)["view_a"]
    both = draw_box_pairs(pool, config, crop, np.random.default_rng(0), batch=4)["view_a"]
    assert torch.equal(both[both != 0], masked[both != 0])
    assert float((both != 0).float().mean()) < float((masked != 0).float().mean())


def test_pairs_for_a_loss_with_negatives_are_of_different_species(pool: SubtomogramPool, monkeypatch) -> None:
    asked: list[np.ndarray] = []

    def noted(pool_: object, config: object, labels: np.ndarray, *rest: object, **more: object) -> torch.Tensor:
        asked.append(labels)
        return torch.zeros(len(labels), 16, 16, 16)

    monkeypatch.setattr("cryoembed.views.subtomograms._draw", lambda *a, **k: _Drawn(noted(*a, **k), None))
    for seed in range(5):
        generator = np.random.default_rng(seed)
        draw_box_pairs(pool, CONFIG, AugmentConfig(), generator, batch=6, distinct=True)
        assert sorted(asked[-1][:6]) == list(range(6))


def test_the_share_of_structures_in_a_batch_is_what_was_asked(pool: SubtomogramPool) -> None:
    two = replace(pool, structures=2)  # the last two of its six templates
    for share, expected in ((0.0, 0), (1.0, 2)):
        config = CONFIG.model_copy(update={"structure_share": share, "nuisance_share": 0.0})
        labels = draw_classes(two, config, np.random.default_rng(0), classes=4, views=1)["label"].numpy()
        assert len(set(labels)) == 4
        assert int((labels >= 4).sum()) == expected


def test_boxes_are_flattened_where_asked_and_are_otherwise_the_same(pool: SubtomogramPool) -> None:
    config = CONFIG.model_copy(update={"box_vox": 32, "neighbours": 0, "membrane_probability": 0.0})
    white = dict.fromkeys(("noise_slope", "noise_ramp", "noise_rise", "soft_filter", "tilt_falloff"), (0.0, 0.0))
    imaging = ImagingRanges(snr=(0.05, 0.05), band_limit_probability=0, **white)  # type: ignore[arg-type]
    config = config.model_copy(update={"imaging": imaging})
    nothing = np.full(64, len(pool.templates))
    plain, flat = (
        draw_boxes(pool, config.model_copy(update={"flatten": flatten}), nothing, np.random.default_rng(3)).numpy()
        for flatten in (False, True)
    )
    spectra = [np.mean([measured_power((box - box.mean()) / box.std()) for box in boxes], axis=0)[1:10]
               for boxes in (plain, flat)]  # fmt: skip
    wanted = np.exp(-((np.arange(1, 10) * HIGHEST / (SHELLS - 1) / 0.25) ** 2))
    ratios = [power / wanted for power in spectra]
    assert ratios[0].max() / ratios[0].min() > 5
    assert ratios[1].max() / ratios[1].min() < 1.8
    assert np.corrcoef(plain.ravel(), flat.ravel())[0, 1] > 0.5
