"""Places: the compiled searches find what looking at every voxel finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.simulate.scene.search import any_free, block_around, first_free, free_but_for

SHAPE = (9, 10, 11)
CROSS = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, 0, -2]])


def fits(blocked, offsets, place, cut=False):
    voxels = offsets + place
    inside = np.all((voxels >= 0) & (voxels < blocked.shape), axis=1)
    if not cut and not inside.all():
        return False
    return bool(inside.any()) and not blocked[tuple(voxels[inside].T)].any()


@pytest.mark.parametrize("cut", [False, True])
def test_the_first_free_place_is_the_first(generator, cut):
    blocked = generator.random(SHAPE) < 0.3
    for _ in range(20):
        places = generator.integers(0, SHAPE, size=(6, 3))
        free = [index for index, place in enumerate(places) if fits(blocked, CROSS, place, cut)]
        assert first_free(blocked, CROSS, places, may_stick_out=cut) == (free[0] if free else -1)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_a_place_is_found_exactly_if_there_is_one(generator, density, cut):
    low, high = np.zeros(3, dtype=np.int64), np.array(SHAPE) - 1
    for _ in range(10):
        blocked = generator.random(SHAPE) < density
        free = {tuple(place) for place in np.ndindex(SHAPE) if fits(blocked, CROSS, np.array(place), cut)}
        found = any_free(blocked, CROSS, low, high, generator, may_stick_out=cut)
        assert (found is None) == (not free)
        assert found is None or tuple(found) in free


def test_every_free_place_is_found_now_and_then(generator):
    blocked = np.ones(SHAPE, dtype=bool)
    blocked[2:5, 3:6, 4:8] = False
    free = {place for place in np.ndindex(SHAPE) if not blocked[place]}
    low, high = np.zeros(3, dtype=np.int64), np.array(SHAPE) - 1
    point = np.zeros((1, 3), dtype=np.int64)
    assert {tuple(any_free(blocked, point, low, high, generator)) for _ in range(600)} == free


def test_nothing_is_free_where_there_is_no_room(generator):
    low, high = np.array([3, 3, 3]), np.array([2, 5, 5])
    assert any_free(np.zeros(SHAPE, dtype=bool), CROSS, low, high, generator) is None
    assert first_free(np.zeros(SHAPE, dtype=bool), CROSS[:0], np.zeros((1, 3), dtype=np.int64)) == -1


def test_a_membrane_is_no_obstacle_to_its_own_protein():
    blocked, occupancy = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=np.int32)
    blocked[4], occupancy[4] = True, 7
    at = np.array([4, 4, 4])
    assert free_but_for(blocked, occupancy, 7, CROSS, at)
    assert not free_but_for(blocked, occupancy, 8, CROSS, at)
    blocked[5, 4, 4] = True  # a neighbour, or a neighbour's gap
    assert not free_but_for(blocked, occupancy, 7, CROSS, at)
    assert not free_but_for(blocked, occupancy, 7, CROSS, np.array([4, 4, 1]))  # sticks out


@pytest.mark.parametrize("reach", [1.0, 2.5, 3.0])
def test_the_gap_is_a_ball_around_every_voxel(generator, reach):
    taken = generator.random(SHAPE) < 0.01
    blocked = taken.copy()
    block_around(blocked, np.argwhere(taken), reach)
    assert np.array_equal(blocked, ndimage.distance_transform_edt(~taken) <= reach)
