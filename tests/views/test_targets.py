"""Targets of the instance head on volumes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.views.targets import instance_targets

GRID = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return ((GRID - np.array(centre)) ** 2).sum(-1) <= radius**2


def touching_balls() -> np.ndarray:
    ids = np.zeros((32, 32, 32), dtype=np.int32)
    ids[ball((16, 16, 9), 6.5)] = 4
    ids[ball((16, 16, 22), 6.5)] = 9
    return ids


def test_touching_balls_each_peak_at_their_own_centre() -> None:
    ids = touching_balls()
    assert ids[16, 16, 15] == 4
    assert ids[16, 16, 16] == 9
    targets = instance_targets(ids)
    assert targets.distance[16, 16, 9] == targets.distance[16, 16, 22] == 1.0
    assert targets.distance[16, 16, 15] < 0.2
    assert targets.distance.max() == 1.0
    assert not targets.distance[ids == 0].any()


def test_boundary_separates_touching_balls_and_is_thin() -> None:
    ids = touching_balls()
    targets = instance_targets(ids)
    assert targets.boundary[16, 16, 15]
    assert targets.boundary[16, 16, 16]
    assert not targets.boundary[16, 16, 9]
    assert not targets.boundary[16, 16, 13]
    assert not targets.boundary[ids == 0].any()
    assert (targets.foreground == (ids > 0)).all()


def test_small_and_large_particles_reach_the_same_depth() -> None:
    ids = np.zeros((32, 32, 32), dtype=np.int32)
    ids[ball((8, 8, 8), 2.5)] = 1
    ids[ball((20, 20, 20), 9)] = 2
    distance = instance_targets(ids).distance
    assert distance[ids == 1].max() == distance[ids == 2].max() == 1.0


def test_hollow_shell_is_deepest_inside_its_wall() -> None:
    ids = (ball((16, 16, 16), 12) & ~ball((16, 16, 16), 5)).astype(np.int32)
    targets = instance_targets(ids)
    assert targets.distance[16, 16, 16] == 0
    assert not targets.foreground[16, 16, 16]
    radius = np.sqrt(((np.argwhere(targets.distance > 0.9) - 16) ** 2).sum(1))
    assert radius.min() > 7
    assert radius.max() < 10
    assert targets.boundary[16, 16, 16 + 6]


@pytest.mark.parametrize("ids", [np.zeros((4, 4, 4), np.int32), np.full((4, 4, 4), 7, np.int32)])
def test_volumes_without_any_boundary_are_finite(ids: np.ndarray) -> None:
    targets = instance_targets(ids)
    assert np.isfinite(targets.distance).all()
    assert not targets.boundary.any()
