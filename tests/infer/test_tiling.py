"""Tiles partition the volume, start on the grid, carry the halo; far faces are mirrored as the network mirrors them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.infer.tiling import choose_core, mirrored, round_up, tiles

sides = st.tuples(*[st.integers(1, 40)] * 3)
cores = st.tuples(*[st.integers(8, 40)] * 3)
quick = settings(deadline=None, max_examples=40)


@quick
@given(shape=sides, core=cores, halo=st.integers(0, 30), stride=st.sampled_from([1, 4, 8]))
def test_every_voxel_lies_in_exactly_one_core(shape, core, halo, stride):
    counts = np.zeros(shape, dtype=int)
    for tile in tiles(shape, core, halo=halo, stride=stride):
        counts[tuple(slice(*span) for span in tile.core)] += 1
    assert np.all(counts == 1)


@quick
@given(shape=sides, core=cores, halo=st.integers(0, 30), stride=st.sampled_from([1, 4, 8]))
def test_windows_carry_the_halo_and_start_on_the_grid(shape, core, halo, stride):
    for tile in tiles(shape, core, halo=halo, stride=stride):
        for size, (start, stop), (first, last) in zip(shape, tile.core, tile.window, strict=True):
            end = round_up(size, stride)
            assert first % stride == 0
            assert last % stride == 0
            assert 0 <= first <= max(start - halo, 0)
            assert end >= last >= min(stop + halo, end)


@quick
@given(shape=st.tuples(st.integers(1, 600), st.integers(1, 600)), most=st.integers(1, 400_000))
def test_chosen_cores_fit_the_memory_unless_nothing_does(shape, most):
    core = choose_core(shape, halo=42, stride=8, most_voxels=most)
    window = math.prod(min(side + 96, round_up(size, 8)) for side, size in zip(core, shape, strict=True))
    assert window <= most or max(core) <= 48
    if round_up(shape[0], 8) * round_up(shape[1], 8) <= most:
        assert len(list(tiles(shape, core, halo=42, stride=8))) == 1


def test_far_faces_are_mirrored_as_torch_mirrors_them():
    for shape in itertools.product((1, 3, 7, 8, 13), repeat=3):
        volume = torch.arange(math.prod(shape), dtype=torch.float32).reshape(1, 1, *shape)
        missing = [-size % 8 for size in shape]
        reflects = all(far < size for far, size in zip(missing, shape, strict=True))
        padding = [amount for far in reversed(missing) for amount in (0, far)]
        expected = F.pad(volume, padding, mode="reflect" if reflects else "replicate")[0, 0]
        assert np.array_equal(volume[0, 0].numpy()[np.ix_(*mirrored(shape, 8))], expected)
