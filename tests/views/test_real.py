"""Real tomograms: blobs are found, both views are of one place, halves give one view each, nothing leaves the volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cryoembed.errors import InputError
from cryoembed.views.augment import AugmentConfig
from cryoembed.views.real import (
    RealConfig,
    RealVolume,
    draw_real_boxes,
    draw_real_windows,
    find_blobs,
    real_volume,
)

NO_CHANGE = AugmentConfig(noise_probability=0, low_pass_probability=0, high_pass_probability=0, mask_probability=0)
PLAIN = RealConfig(tomograms=(Path("a.mrc"),), shift_vox=0, half_turns=False, random_share=0, augment=NO_CHANGE)
CROP = Path(__file__).parents[2] / "../shared/data/tomograms/emp10499/00254_10A_crop.mrc"


def planted(places: list[tuple[int, int, int]], shape: tuple[int, int, int] = (150, 40, 40)) -> np.ndarray:
    volume = 0.05 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for z, y, x in places:
        volume[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] += 1
    return volume


def test_planted_blobs_are_found_first_across_slabs() -> None:
    places = [(20, 20, 20), (63, 12, 30), (64, 30, 12), (128, 20, 25)]  # slabs end at 64 and 128
    found = find_blobs([planted(places)], (1.5, 3.0), 4)
    assert sorted(map(tuple, found.tolist())) == places
    twice = find_blobs([planted(places), planted(places)], (1.5, 3.0), 4)
    assert np.array_equal(found, twice)
    assert len(find_blobs([planted(places)], (1.5, 3.0), 2)) == 2


def test_boxes_are_cut_around_blobs_that_lie_inside() -> None:
    volume = real_volume("planted", [planted([(20, 20, 20), (3, 20, 20)])], PLAIN, edge_vox=12)
    a, b = draw_real_boxes(
        [RealVolume(volume.views, volume.peaks[:1])], PLAIN, np.random.default_rng(0), pairs=3, box_vox=12
    )
    assert a.shape == b.shape == (3, 1, 12, 12, 12)
    assert torch.equal(a, b)  # nothing may differ with these settings
    assert np.array_equal(a[0, 0].numpy(), volume.views[0][14:26, 14:26, 14:26])


@pytest.mark.parametrize("box", [8, 9])
def test_half_turns_keep_the_middle_voxel_and_the_wedge(box: int) -> None:
    ramp = np.stack(np.meshgrid(*(np.arange(20.0),) * 3, indexing="ij")).sum(0).astype(np.float32)
    config = PLAIN.model_copy(update={"half_turns": True})
    volume = RealVolume((ramp,), np.array([[10, 10, 10]]))
    a, _ = draw_real_boxes([volume], config, np.random.default_rng(0), pairs=40, box_vox=box)
    assert (a[:, 0, box // 2, box // 2, box // 2] == 30).all()
    slopes = {tuple(int(box_[0].diff(dim=axis)[0, 0, 0]) for axis in range(3)) for box_ in a}
    assert slopes == {(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)}


def test_halves_give_one_view_each() -> None:
    even, odd = np.zeros((20, 20, 20), np.float32), np.ones((20, 20, 20), np.float32)
    volume = real_volume("halves", [even, odd], PLAIN, edge_vox=8)
    a, b = draw_real_boxes([volume], PLAIN, np.random.default_rng(0), pairs=2, box_vox=8)
    assert (a == 0).all()
    assert (b == 1).all()


def test_shifted_boxes_anywhere_stay_inside_the_volume() -> None:
    ones = np.ones((14, 14, 14), np.float32)
    config = PLAIN.model_copy(update={"shift_vox": 2, "half_turns": True, "random_share": 1.0})
    volume = real_volume("ones", [ones], config, edge_vox=8)
    a, b = draw_real_boxes([volume], config, np.random.default_rng(0), pairs=200, box_vox=8)
    assert a.shape == b.shape == (200, 1, 8, 8, 8)


@pytest.mark.parametrize("affine", [False, True])
def test_windows_correspond(affine: bool) -> None:
    numbers = np.arange(30**3, dtype=np.float32).reshape(30, 30, 30)
    volume = real_volume("numbers", [numbers], PLAIN, edge_vox=16)
    batch = draw_real_windows(
        [volume],
        PLAIN,
        np.random.default_rng(0),
        pairs=3,
        crop_vox=16,
        window_vox=8,
        min_overlap=0.2,
        stride=4,
        affine=affine,
    )
    for i in range(3):
        if affine:
            matrix, shift = batch["corresponds"][i, :, :3], batch["corresponds"][i, :, 3].int().tolist()
            assert torch.equal(matrix, torch.eye(3, dtype=torch.float64))
            p = [max(0, -s) for s in shift]
            q = [a + s for a, s in zip(p, shift, strict=True)]
        else:
            p, q = (batch[f"overlap_{v}"][i, :, 0].tolist() for v in "ab")
        assert batch["view_a"][i, 0, *p] == batch["view_b"][i, 0, *q]


def test_same_seed_gives_the_same_views() -> None:
    config = RealConfig(tomograms=(Path("a.mrc"),))
    volume = real_volume("planted", [planted([(20, 20, 20), (60, 20, 20)])], config, edge_vox=12)
    one, two, other = (
        draw_real_boxes([volume], config, np.random.default_rng(seed), pairs=4, box_vox=12)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_share_counts_real_pairs_in_the_whole_batch() -> None:
    assert RealConfig(tomograms=(Path("a.mrc"),), share=0.25).count(60) == 20
    assert RealConfig(tomograms=(Path("a.mrc"),), share=0.01).count(4) == 2


def test_volumes_that_cannot_serve_are_refused() -> None:
    small = np.zeros((12, 30, 30), np.float32)
    with pytest.raises(InputError, match="too few for cubes of 16"):
        real_volume("small.mrc", [small], PLAIN, edge_vox=16)
    with pytest.raises(InputError, match="halves differ in shape"):
        real_volume("even.mrc", [small, small[:, :20]], PLAIN, edge_vox=4)
    with pytest.raises(ValueError, match="real needs files"):
        RealConfig()


@pytest.mark.skipif(not CROP.exists(), reason="the real crop is not here")
def test_boxes_of_a_real_tomogram_are_bright_at_blobs() -> None:
    from cryoembed.io.mrc import read_tomogram
    from cryoembed.preprocess.config import InputConfig
    from cryoembed.preprocess.prepare import prepare
    from cryoembed.tomogram import Tomogram

    whole = read_tomogram(CROP)
    part = Tomogram(np.ascontiguousarray(whole.data[:80, :96, :96]), whole.voxel_size, whole.name)
    prepared = prepare(part, InputConfig()).tomogram.data
    volume = real_volume("crop", [prepared], PLAIN, edge_vox=16)
    assert len(volume.peaks) > 20
    best = RealVolume(volume.views, volume.peaks[:20])
    a, _ = draw_real_boxes([best], PLAIN, np.random.default_rng(0), pairs=20, box_vox=16)
    assert float(a[:, 0, 7:10, 7:10, 7:10].mean()) > float(a.mean()) + 1
