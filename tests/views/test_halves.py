"""Crops of noisy tomograms: halves correspond voxel by voxel, rows held out stay out, hidden voxels are hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.views.halves import GAP_VOX, SelfDenoiseData, check_crops_fit, draw_halves, draw_hidden, hide_voxels

SHAPE = (18, 44, 20)
NUMBERED = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)  # every voxel its own number
DATA = SelfDenoiseData(crop_vox=16, held_out=0.2, hidden_reach_vox=(3, 2, 3))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_input_and_target_show_the_same_place_turned_alike(seed: int) -> None:
    batch = draw_halves([(NUMBERED, NUMBERED + 0.5)], DATA, np.random.default_rng(seed), batch=2)
    assert batch["input"].shape == batch["target"].shape == (2, 1, 16, 16, 16)
    for noisy, target in zip(batch["input"], batch["target"], strict=True):
        difference = torch.unique(target - noisy)  # constant: which half came first is drawn for each crop
        assert difference.abs().tolist() == [0.5]
        assert torch.unique(torch.floor(noisy)).numel() == 16**3


def test_both_halves_serve_as_input() -> None:
    batch = draw_halves([(NUMBERED, NUMBERED + 0.5)], DATA, np.random.default_rng(0), batch=16)
    assert set(torch.sign(batch["target"] - batch["input"]).flatten().tolist()) == {-1.0, 1.0}


def test_turns_keep_the_axes_in_place() -> None:
    # a quarter turn would move the missing wedge: steps along x, y and z keep their size
    batch = draw_halves([(NUMBERED, NUMBERED)], DATA, np.random.default_rng(1), batch=16)
    steps = [torch.diff(batch["input"][:, 0], dim=axis) for axis in (1, 2, 3)]
    sizes = [set(step.abs().flatten().tolist()) for step in steps]
    assert sizes == [{SHAPE[1] * SHAPE[2]}, {SHAPE[2]}, {1.0}]
    assert len({tuple(float(torch.sign(step[i]).mean()) for step in steps) for i in range(16)}) > 4


def test_rows_held_out_are_never_trained_on() -> None:
    rows = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32)[None, :, None], SHAPE)
    batch = draw_hidden([rows], DATA, np.random.default_rng(0), batch=200)
    validated = SHAPE[1] - 16  # a crop at least
    assert float(batch["held_out_target"].min()) == validated
    assert float(batch["target"].max()) == validated - GAP_VOX - 1
    assert float(batch["target"].min()) == 0


def test_same_generator_gives_the_same_batch_and_another_a_different_one() -> None:
    first, again, other = (draw_hidden([NUMBERED], DATA, np.random.default_rng([0, n]), batch=2) for n in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["input"], other["input"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.integers(0, 2)] * 3))
def test_blind_spot_hides_the_voxel_and_its_block_and_nothing_else(seed: int, reach: tuple[int, int, int]) -> None:
    config = SelfDenoiseData(crop_vox=16, hidden_share=1e-9, hidden_reach_vox=reach)  # one voxel
    crop = np.arange(16**3, dtype=np.float32).reshape(16, 16, 16)
    blinded, predicted = hide_voxels(crop, config, np.random.default_rng(seed))
    (centre,) = np.argwhere(predicted)
    far = np.abs(np.indices(crop.shape) - centre[:, None, None, None])
    block = np.all(far <= np.array(reach)[:, None, None, None], axis=0)
    np.testing.assert_array_equal(blinded != crop, block)
    assert not np.isin(crop[block], blinded).any()  # no stand-in comes from the block


def test_plain_noise2void_hides_the_predicted_voxels_only() -> None:
    config = SelfDenoiseData(crop_vox=16, hidden_share=0.01, hidden_reach_vox=(0, 0, 0))
    crop = np.arange(16**3, dtype=np.float32).reshape(16, 16, 16)
    blinded, predicted = hide_voxels(crop, config, np.random.default_rng(0))
    np.testing.assert_array_equal(blinded != crop, predicted == 1)
    assert 0.009 < predicted.mean() <= 0.0101


@pytest.mark.parametrize("shape", [(15, 36, 16), (16, 35, 16), (16, 36, 15)])
def test_tomogram_smaller_than_its_crops_is_refused(shape: tuple[int, int, int]) -> None:
    check_crops_fit((16, 36, 16), DATA, "fits")
    with pytest.raises(InputError, match=r"ts: .* lower data\.crop_vox"):
        check_crops_fit(shape, DATA, "ts")
