"""Window pairs: what one view shows in the overlap, the other shows at the corresponding voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.views.crops import cut_windows, draw_window_pairs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 8]))
def test_planted_voxels_are_found_at_corresponding_places(seed: int, stride: int) -> None:
    generator = np.random.default_rng(seed)
    pairs = draw_window_pairs(3, 32, 16, generator, min_overlap=0.25, stride=stride)
    crops = torch.arange(3 * 32**3, dtype=torch.float64).reshape(3, 32, 32, 32)  # every voxel its own number
    a, b = cut_windows(crops, pairs.starts_a, 16), cut_windows(crops, pairs.starts_b, 16)
    for i in range(3):
        shared = [
            view[i][tuple(slice(*ends) for ends in overlap[i])]
            for view, overlap in ((a, pairs.overlap_a), (b, pairs.overlap_b))
        ]
        assert torch.equal(shared[0], shared[1])
        assert len(np.intersect1d(a[i].numpy(), b[i].numpy())) == shared[0].numel()
        assert shared[0].numel() >= 0.25 * 16**3
        assert not ((pairs.starts_a[i] - pairs.starts_b[i]) % stride).any()


def test_window_as_large_as_the_crop_is_the_crop() -> None:
    pairs = draw_window_pairs(1, 8, 8, np.random.default_rng(0), stride=4)
    assert pairs.starts_a.tolist() == pairs.starts_b.tolist() == [[0, 0, 0]]
    assert pairs.overlap_a.tolist() == [[[0, 8]] * 3]


@pytest.mark.parametrize("min_overlap", [0.3, 0.9, 1.0])
def test_windows_share_at_least_the_asked_volume(min_overlap: float) -> None:
    pairs = draw_window_pairs(64, 40, 20, np.random.default_rng(1), min_overlap=min_overlap)
    assert (np.prod(np.diff(pairs.overlap_a, axis=-1), axis=(1, 2)) >= min_overlap * 20**3).all()
