"""Warped views: a planted voxel is at corresponding places of both views, for every turn, borders included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.views.crops import cut_windows, draw_window_pairs
from cryoembed.views.warp import (
    WarpConfig,
    Warps,
    correspondence,
    cube_turns,
    draw_warps,
    turned,
    turned_starts,
    warped,
)

CROP, MARGIN, WINDOW, STRIDE = 16, 4, 8, 4
INNER = slice(MARGIN, MARGIN + CROP)


def views(turn: np.ndarray, seed: int, *, zoom: float = 1.0, shift: tuple[float, ...] = (0.0, 0.0, 0.0)):
    """Two windows of a volume whose voxels are all different, and the affine map between them."""
    edge = CROP + 2 * MARGIN
    volume = torch.arange(edge**3, dtype=torch.float64).reshape(1, edge, edge, edge)
    warps = Warps(turn[None], np.array([zoom]), np.array([shift]))
    pairs = draw_window_pairs(1, CROP, WINDOW, np.random.default_rng(seed), min_overlap=0.1, stride=STRIDE)
    starts_b = turned_starts(pairs.starts_b, warps.turn, CROP, WINDOW)
    a = cut_windows(volume[:, INNER, INNER, INNER], pairs.starts_a, WINDOW)[0]
    b = cut_windows(warped(volume, warps)[:, INNER, INNER, INNER], starts_b, WINDOW)[0]
    return a, b, correspondence(pairs, starts_b, warps, CROP)[0], starts_b


def test_there_are_24_turns_that_keep_the_hand_and_48_with_mirror_images() -> None:
    turns = cube_turns()
    assert len(np.unique(turns, axis=0)) == 24
    assert np.allclose(np.linalg.det(turns), 1)
    assert np.array_equal(turns[0], np.eye(3))
    assert len(np.unique(cube_turns(mirror=True), axis=0)) == 48


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_every_voxel_that_both_views_show_is_where_the_map_says_for_all_turns(seed: int) -> None:
    for turn in cube_turns(mirror=True):
        a, b, affine, starts_b = views(turn, seed)
        assert not (starts_b % STRIDE).any()  # so that coarser levels correspond, too
        assert not (affine[:, 3] % STRIDE).any()
        p = np.argwhere(np.ones((WINDOW,) * 3))
        q = np.round(p @ affine[:, :3].T + affine[:, 3]).astype(int)
        shown = np.all((q >= 0) & (q < WINDOW), axis=1)
        assert torch.equal(a[tuple(p[shown].T)], b[tuple(q[shown].T)])
        assert shown.sum() == len(np.intersect1d(a.numpy(), b.numpy())) > 0


def test_a_turn_about_the_middle_voxel_leaves_it_in_place() -> None:
    volume = torch.zeros(8, 8, 8)
    volume[4, 4, 4], volume[4, 4, 7] = 2, 1
    for turn in cube_turns():
        moved = turned(volume, turn)
        assert moved[4, 4, 4] == 2
        assert torch.nonzero(moved == 1)[0].tolist() == (turn @ [0, 0, 3] + 4).tolist()


def test_zoom_and_shift_put_a_blob_where_the_map_says() -> None:
    edge = CROP + 2 * MARGIN
    z, y, x = torch.meshgrid(*(torch.arange(edge, dtype=torch.float64),) * 3, indexing="ij")
    blob = torch.exp(-((z - 13) ** 2 + (y - 11) ** 2 + (x - 14) ** 2) / 8)
    turn = cube_turns()[7]
    warps = Warps(turn[None], np.array([1.1]), np.array([[0.3, -0.4, 0.2]]))
    moved = warped(blob[None], warps)[0]
    mass = moved / moved.sum()
    found = [float((mass * axis).sum()) for axis in (z, y, x)]
    centre = edge // 2
    expected = 1.1 * turn @ (np.array([13, 11, 14]) - centre) + centre + warps.shift[0]
    assert found == pytest.approx(expected, abs=0.02)


def test_zoomed_views_show_the_same_density_at_corresponding_places() -> None:
    from scipy.ndimage import map_coordinates

    for seed, turn in enumerate(cube_turns()[::5]):
        a, b, affine, _ = views(turn, seed, zoom=0.95, shift=(0.2, -0.3, 0.1))
        p = np.argwhere(np.ones((WINDOW,) * 3))
        q = p @ affine[:, :3].T + affine[:, 3]
        shown = np.all((q >= 0) & (q <= WINDOW - 1), axis=1)
        assert shown.sum() > 20
        # a volume of running numbers is linear, and linear interpolation of it exact
        assert np.allclose(map_coordinates(b.numpy(), q[shown].T, order=1), a[tuple(p[shown].T)], atol=1e-6 * 24**3)


def test_what_is_off_stays_off_and_the_same_seed_gives_the_same_warps() -> None:
    still = draw_warps(5, WarpConfig(), np.random.default_rng(0))
    assert np.array_equal(still.turn, np.stack([np.eye(3)] * 5))
    assert (still.zoom == 1).all()
    assert (still.shift == 0).all()
    assert not WarpConfig().active
    config = WarpConfig(turns=True, zoom=(0.9, 1.1), shift_vox=0.5)
    one, two = (draw_warps(200, config, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one.turn, two.turn)
    assert np.allclose(np.linalg.det(one.turn), 1)
    assert len(np.unique(one.turn, axis=0)) == 24
    assert one.zoom.min() >= 0.9
    assert one.zoom.max() <= 1.1
    assert np.abs(one.shift).max() <= 0.5
