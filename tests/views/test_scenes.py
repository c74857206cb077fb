"""Dense batches: targets lie where the density is, views of a pair correspond, seeds decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cryoembed.errors import InputError
from cryoembed.semantic import IGNORED
from cryoembed.views.augment import AugmentConfig
from cryoembed.views.dense import draw_targets, draw_view_pairs
from cryoembed.views.imaging import expected_power, flattened, transmitted
from cryoembed.views.scene_crops import Crops
from cryoembed.views.scenes import CleanScene, SceneConfig, build_scene, clean_scene
from cryoembed.views.warp import WarpConfig

CONFIG = SceneConfig(
    scenes=1,
    shape_zyx=(32, 40, 40),
    species=2,
    mass_range_kda=(200, 800),
    crop_vox=16,
    margin_vox=4,
    vesicles=0,
    fiducials=0,
)
NO_CHANGE = AugmentConfig(noise_probability=0, low_pass_probability=0, high_pass_probability=0, mask_probability=0)


def planted(recorded: bool = False) -> CleanScene:
    density = np.zeros((32, 40, 40), dtype=np.float32)
    ids = np.zeros((32, 40, 40), dtype=np.int32)
    rng = np.random.default_rng(0)
    for number in range(1, 40):
        z, y, x = (int(rng.integers(2, size - 3)) for size in density.shape)
        density[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 1
        ids[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = number
    return clean_scene(density, ids, CONFIG, recorded=density * 3 if recorded else None)


def test_targets_of_a_turned_crop_lie_where_its_density_is() -> None:
    clean = CONFIG.model_copy(update={"imaging": CONFIG.imaging.model_copy(update={"clean_probability": 1.0})})
    batch = draw_targets([planted()], clean, np.random.default_rng(0), batch=8)
    inside = batch["foreground"] > 0
    assert float(batch["input"][inside].mean()) > float(batch["input"][~inside].mean()) + 1
    assert float(batch["clean"][inside].mean()) > float(batch["clean"][~inside].mean()) + 1
    assert (batch["distance"][~inside] == 0).all()
    assert (batch["distance"][inside] > 0).all()
    assert (batch["boundary"] <= batch["foreground"]).all()
    assert batch["input"].shape == (8, 1, 16, 16, 16)


def test_views_of_a_pair_show_the_same_where_they_overlap() -> None:
    imaging = CONFIG.imaging.model_copy(
        update={"clean_probability": 1.0, "contrast_gain": (1.0, 1.0), "clip_sigma": (50.0, 50.0)}
    )
    config = CONFIG.model_copy(update={"imaging": imaging})
    batch = draw_view_pairs(
        [planted()], config, NO_CHANGE, np.random.default_rng(1), batch=4, window_vox=10, min_overlap=0.3, stride=2
    )
    compared = 0
    for i in range(4):
        a, b = (
            batch[f"view_{v}"][i, 0][tuple(slice(*ends) for ends in batch[f"overlap_{v}"][i].tolist())] for v in "ab"
        )
        if a.std() > 0.5:  # some particle in it
            assert float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) > 0.9
            compared += 1
    assert compared >= 2


def test_same_seed_gives_the_same_scene_and_batch() -> None:
    scenes = [build_scene(CONFIG, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(scenes[0].density, scenes[1].density)
    batches = [draw_targets([scene], CONFIG, np.random.default_rng(4), batch=2) for scene in scenes]
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
    assert float(batches[0]["input"].std()) == pytest.approx(1.0, abs=0.4)


def test_recorded_reconstruction_is_the_input_voxel_by_voxel() -> None:
    batch = draw_targets([planted(recorded=True)], CONFIG, np.random.default_rng(0), batch=4)
    assert torch.equal(batch["input"] == 3, batch["foreground"] == 1)


def test_scene_that_cannot_teach_is_refused() -> None:
    empty = np.zeros((32, 40, 40), dtype=np.float32)
    with pytest.raises(InputError, match="constant"):
        clean_scene(empty, empty.astype(np.int32), CONFIG)
    with pytest.raises(InputError, match="smaller than a crop"):
        clean_scene(empty[:20], empty[:20].astype(np.int32), CONFIG)
    with pytest.raises(ValueError, match="does not fit"):
        SceneConfig(shape_zyx=(32, 64, 64), crop_vox=32)


def test_crops_are_flattened_by_the_power_of_their_own_scene() -> None:
    fine, kept = planted(), CONFIG.imaging.model_copy(update=SHARP)
    coarse = np.zeros(fine.density.shape, dtype=np.float32)
    coarse[4:28, 8:24, 8:24] = 1
    other = clean_scene(coarse, coarse.astype(np.int32), CONFIG)
    config = CONFIG.model_copy(update={"imaging": kept, "flatten": True})
    crops = Crops([fine, other], 8, config, np.random.default_rng(0))
    assert len({id(scene) for scene in crops._scenes}) == 2
    microscopes = crops.microscopes(np.random.default_rng(1))
    together = crops.imaged(np.random.default_rng(2), microscopes=microscopes)
    crops.config = CONFIG.model_copy(update={"imaging": kept, "flatten": False, "crop_vox": 24, "margin_vox": 0})
    plain = crops.imaged(np.random.default_rng(2), microscopes=microscopes)
    for number, scene in enumerate(crops._scenes):
        passed = transmitted(microscopes.signal[number : number + 1], scene.power)
        power = expected_power(
            microscopes.of(np.array([number])),
            scene.power,
            particle_variance=passed * scene.particle_variance,
            volume_variance=passed * scene.volume_variance,
        )
        alone = flattened(plain[number : number + 1], power)[0, 4:20, 4:20, 4:20]
        torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-4)


SHARP = {"clean_probability": 1.0, "contrast_gain": (1.0, 1.0), "clip_sigma": (50.0, 50.0)}


def draw(config: SceneConfig, *, seed: int = 1, **more: object) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    options = {"batch": 6, "window_vox": 8, "min_overlap": 0.3, "stride": 2, **more}
    return draw_view_pairs([planted()], config, NO_CHANGE, generator, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.95, 1.05)])
def test_warped_views_show_the_same_where_the_map_says(zoom: tuple[float, float]) -> None:
    config = CONFIG.model_copy(update={"imaging": CONFIG.imaging.model_copy(update=SHARP)})
    batch = draw(config, batch=12, warp=WarpConfig(turns=True, zoom=zoom))
    p = np.argwhere(np.ones((8, 8, 8)))
    agreements = []
    for a, b, affine in zip(batch["view_a"], batch["view_b"], batch["corresponds"].numpy(), strict=True):
        q = p @ affine[:, :3].T + affine[:, 3]
        shown = np.all((q >= 0) & (q <= 7), axis=1)
        here, there = a[0].numpy()[tuple(p[shown].T)], map_coordinates(b[0].numpy(), q[shown].T, order=1)
        if here.std() > 0.5:  # some particle in it
            agreements.append(np.corrcoef(here, there)[0, 1])
    assert len(agreements) >= 4
    assert min(agreements) > 0.8


def test_the_wedge_of_a_turned_view_stays_along_the_beam() -> None:
    update = {"snr": (0.01, 0.02), "tilt_max_deg": (40.0, 40.0), "axis_jitter_deg": 0.0, "clip_sigma": (50.0, 50.0)}
    config = CONFIG.model_copy(update={"margin_vox": 0, "imaging": CONFIG.imaging.model_copy(update=update)})
    batch = draw(config, window_vox=16, min_overlap=1.0, stride=16, warp=WarpConfig(turns=True))
    for view in ("view_a", "view_b"):
        spectrum = torch.fft.fftn(batch[view][:, 0], dim=(1, 2, 3)).abs().mean(0)
        assert spectrum[6, 0, 0] < 0.05 * spectrum[0, 6, 0]
        assert spectrum[6, 0, 0] < 0.05 * spectrum[0, 0, 6]


def test_what_views_share_is_what_was_asked() -> None:
    shared = draw(CONFIG, window_vox=16, min_overlap=1.0, share="image")
    assert torch.equal(shared["view_a"], shared["view_b"])
    ranges = {"snr": (0.01, 0.02), "tilt_max_deg": (20.0, 70.0), "axis_jitter_deg": 30.0, "clip_sigma": (50.0, 50.0)}
    config = CONFIG.model_copy(update={"margin_vox": 0, "imaging": CONFIG.imaging.model_copy(update=ranges)})

    def difference(share: str) -> float:
        batch = draw(config, window_vox=16, min_overlap=1.0, share=share)
        a, b = (torch.fft.rfftn(batch[f"view_{v}"], dim=(2, 3, 4)).abs() > 1e-2 for v in "ab")
        assert not torch.equal(batch["view_a"], batch["view_b"])
        return float((a != b).float().mean())

    assert difference("microscope") < 0.02 < 0.1 < difference("nothing")


def test_balanced_crops_show_the_rare_class() -> None:
    plain = planted()
    classes = np.zeros(plain.density.shape, dtype=np.uint8)
    classes[25:27, 34:36, 34:36] = 5  # in a corner that few crops reach
    scene = replace(plain, classes=classes)
    batches = {
        share: draw_targets(
            [scene], CONFIG.model_copy(update={"balanced_share": share}), np.random.default_rng(0), batch=16
        )
        for share in (0.0, 1.0)
    }
    reached = {share: int((batch["classes"] == 5).flatten(1).any(1).sum()) for share, batch in batches.items()}
    assert reached[0.0] < 4
    assert reached[1.0] == 16


def test_truth_that_is_not_given_is_ignored() -> None:
    batch = draw_targets([planted()], CONFIG, np.random.default_rng(0), batch=1)
    assert (batch["classes"] == IGNORED).all()
    assert (batch["inside"] == IGNORED).all()
