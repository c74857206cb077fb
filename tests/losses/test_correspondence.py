from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cryoembed.losses.correspondence import corresponding_loss
from cryoembed.losses.cosine import overlap_loss
from cryoembed.views.crops import WindowPairs, cut_windows, draw_window_pairs
from cryoembed.views.warp import Warps, correspondence, cube_turns, turned, turned_starts

CROP, WINDOW = 16, 8


def turned_maps(turn: np.ndarray, seed: int, stride: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two views of a random field at a level of ``stride``, whose voxel j stands for voxel ``stride * j``."""
    fine, window = CROP * stride, WINDOW * stride
    pairs = draw_window_pairs(1, fine, window, np.random.default_rng(seed), min_overlap=0.1, stride=stride)
    warps = Warps(turn[None], np.ones(1), np.zeros((1, 3)))
    starts_b = turned_starts(pairs.starts_b, warps.turn, fine, window)
    field = torch.randn(5, CROP, CROP, CROP)
    a = torch.cat([cut_windows(c[None], pairs.starts_a // stride, WINDOW) for c in field])
    b = torch.cat([cut_windows(turned(c, turn)[None], starts_b // stride, WINDOW) for c in field])
    return a[None], b[None], torch.from_numpy(correspondence(pairs, starts_b, warps, fine))


@pytest.mark.parametrize("stride", [1, 2])
def test_views_of_one_field_agree_perfectly_for_every_turn(stride: int) -> None:
    for seed, turn in enumerate(cube_turns(mirror=True)):
        a, b, corresponds = turned_maps(turn, seed, stride)
        assert corresponding_loss(a, a, b, b, corresponds, stride=stride).item() == pytest.approx(-1, abs=1e-6)
        wrong = corresponds.clone()
        wrong[0, 1, 3] += stride
        assert corresponding_loss(a, a, b, b, wrong, stride=stride).item() > -0.5


def test_a_planted_voxel_counts_once_and_at_its_own_place() -> None:
    for seed, turn in enumerate(cube_turns()):
        a, b, corresponds = turned_maps(turn, seed, 1)
        p = np.argwhere(np.ones((WINDOW,) * 3))
        q = (p @ corresponds[0, :, :3].numpy().T + corresponds[0, :, 3].numpy()).astype(int)
        shown = np.all((q >= 0) & (q < WINDOW), axis=1)
        for row in (np.flatnonzero(shown)[0], np.flatnonzero(shown)[-1]):  # at the borders of what is shared
            spoiled = b.clone()
            spoiled[0, :, *q[row]] *= -1
            loss = corresponding_loss(a, a, spoiled, spoiled, corresponds).item()
            assert loss == pytest.approx(-1 + 2 / shown.sum(), abs=1e-5)


def test_without_a_turn_it_is_the_overlap_loss() -> None:
    pairs: WindowPairs = draw_window_pairs(3, CROP, WINDOW, np.random.default_rng(0), min_overlap=0.2)
    maps = [torch.randn(3, 4, WINDOW, WINDOW, WINDOW) for _ in range(4)]
    still = Warps(np.stack([np.eye(3, dtype=np.int64)] * 3), np.ones(3), np.zeros((3, 3)))
    corresponds = torch.from_numpy(correspondence(pairs, pairs.starts_b, still, CROP))
    expected = overlap_loss(*maps, torch.from_numpy(pairs.overlap_a), torch.from_numpy(pairs.overlap_b))
    torch.testing.assert_close(corresponding_loss(*maps, corresponds), expected)


def test_looking_up_between_voxels_agrees_with_transposing_where_voxels_fall_on_voxels() -> None:
    for seed, turn in enumerate(cube_turns()[::3]):
        a, b, corresponds = turned_maps(turn, seed, 1)
        c, d = torch.randn_like(a), torch.randn_like(b)
        nearly = corresponds.clone()
        nearly[0, :, 3] += 1e-5  # off the grid for the code, on it for the eye
        exact, looked_up = (corresponding_loss(a, c, b, d, which) for which in (corresponds, nearly))
        # a plane at the border may fall out by the shift
        assert exact.item() == pytest.approx(looked_up.item(), abs=0.05)


def test_a_smooth_field_seen_zoomed_agrees() -> None:
    grid = np.stack(np.meshgrid(*(np.arange(24.0),) * 3, indexing="ij"))
    waves = np.stack([np.sin(grid[axis] / 4 + phase) for axis in range(3) for phase in (0.0, 1.5)])
    affine = np.array([[[0, 1.1, 0, -1.3], [-1.1, 0, 0, 20.0], [0, 0, 1.1, 0.4]]])
    inverse = np.linalg.inv(affine[0, :, :3])
    b_index = np.stack(np.meshgrid(*(np.arange(12.0),) * 3, indexing="ij")).reshape(3, -1)
    at = inverse @ (b_index - affine[0, :, 3:])
    b = np.stack([map_coordinates(wave, at, order=3, mode="nearest").reshape(12, 12, 12) for wave in waves])
    a, b = (torch.from_numpy(view.astype(np.float32))[None] for view in (waves[:, :20, :20, :20], b))
    assert corresponding_loss(a, a, b, b, torch.from_numpy(affine)).item() < -0.98


def test_gradients_reach_both_predictions_and_no_embedding() -> None:
    tensors = [torch.randn(1, 3, 6, 6, 6, requires_grad=True) for _ in range(4)]
    affine = torch.tensor([[[0, 1.05, 0, 0.2], [1.05, 0, 0, 0.1], [0, 0, 1.05, 0]]], dtype=torch.float64)
    corresponding_loss(*tensors, affine).backward()
    predicted_a, projected_a, predicted_b, projected_b = tensors
    assert projected_a.grad is None or not projected_a.grad.any()
    assert projected_b.grad is None or not projected_b.grad.any()
    assert predicted_a.grad.abs().sum() > 0
    assert predicted_b.grad.abs().sum() > 0


def test_views_that_share_nothing_are_refused() -> None:
    maps = torch.randn(1, 2, 4, 4, 4)
    for offset in (9.0, 9.5):
        affine = torch.eye(3, dtype=torch.float64)
        affine = torch.cat([affine, torch.full((3, 1), offset, dtype=torch.float64)], dim=1)[None]
        with pytest.raises(ValueError, match="no voxel in common"):
            corresponding_loss(maps, maps, maps, maps, affine)
