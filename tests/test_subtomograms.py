from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.subtomograms import convex_hull, cut_boxes, iterate_boxes, particle_mask

SHAPE = (20, 24, 28)
BORDERS = list(itertools.product(*[(0, size // 2, size - 1) for size in SHAPE]))  # corners, edges, faces, centre


@pytest.mark.parametrize("box", [8, 9])
@pytest.mark.parametrize("voxel", BORDERS)
def test_planted_voxel_stays_at_the_box_centre_at_every_border(voxel: tuple[int, int, int], box: int) -> None:
    volume = np.zeros(SHAPE, dtype=np.int16)
    volume[voxel] = 9
    (cut,) = cut_boxes(volume, [voxel], box, fill=-1.0)
    assert cut.dtype == np.float32
    assert cut[box // 2, box // 2, box // 2] == 9
    assert (cut == 9).sum() == 1


@given(st.tuples(*[st.floats(-0.49, size - 0.51) for size in SHAPE]), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_every_voxel_of_a_box_is_the_volume_or_the_fill(centre: tuple[float, float, float], box: int) -> None:
    volume = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) + 1
    (cut,) = cut_boxes(volume, [centre], box)
    padded = np.pad(volume, 40)
    z, y, x = np.floor(np.asarray(centre) + 0.5).astype(int) - box // 2 + 40
    np.testing.assert_array_equal(cut, padded[z : z + box, y : y + box, x : x + box])


def test_box_outside_the_volume_and_nan_positions_are_refused() -> None:
    volume = np.zeros(SHAPE, dtype=np.float32)
    with pytest.raises(InputError, match="one frame"):
        cut_boxes(volume, [(10, 10, 10), (500, 10, 10)], 8)
    with pytest.raises(InputError, match=r"particle 1.*not finite"):
        cut_boxes(volume, [(10, 10, 10), (np.nan, 10, 10)], 8)


def hook() -> tuple[np.ndarray, np.ndarray]:
    """A volume of ones with an L-shaped instance 3 and a neighbour 4."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[8:12, 8:16, 8:10] = labels[8:12, 8:10, 8:16] = 3
    labels[8:12, 13:17, 13:17] = 4
    return np.ones(SHAPE, dtype=np.float32), labels


def test_strict_mask_keeps_exactly_the_instance() -> None:
    volume, labels = hook()
    (cut,) = cut_boxes(volume, [(10, 12, 12)], 16, instances=labels, ids=[3], mask="strict", fill=-5.0)
    assert (cut == 1).sum() == (labels == 3).sum()
    assert set(np.unique(cut)) == {-5.0, 1.0}


def test_hull_mask_contains_the_instance_and_fills_its_bay() -> None:
    volume, labels = hook()
    (strict,) = cut_boxes(volume, [(10, 12, 12)], 16, instances=labels, ids=[3], mask="strict")
    (hull,) = cut_boxes(volume, [(10, 12, 12)], 16, instances=labels, ids=[3], mask="hull")
    assert ((strict == 1) <= (hull == 1)).all()
    bay = (9 - 2, 11 - 4, 11 - 4)  # the box starts at voxel 2, 4, 4
    assert (strict[bay], hull[bay]) == (0, 1)


def test_without_ids_the_label_at_the_centre_decides_and_background_is_not_masked() -> None:
    volume, labels = hook()
    on, off = cut_boxes(volume, [(9, 9, 9), (3, 3, 20)], 8, instances=labels, mask="strict")
    assert 0 < on.sum() < on.size
    assert off[1:, 1:].all()  # only the part beyond the border is fill
    named, _ = cut_boxes(volume, [(9, 9, 9), (3, 3, 20)], 8, instances=labels, ids=[3, 0], mask="strict")
    np.testing.assert_array_equal(named, on)


def test_mask_without_instances_and_instances_of_another_volume_are_refused() -> None:
    volume, labels = hook()
    with pytest.raises(InputError, match="needs the label volume"):
        cut_boxes(volume, [(9, 9, 9)], 8, mask="hull")
    with pytest.raises(InputError, match="do not belong"):
        cut_boxes(volume, [(9, 9, 9)], 8, instances=labels[1:], mask="hull")


def test_hull_of_a_hollow_ball_is_the_ball() -> None:
    grid = np.indices((33, 33, 33)) - 16
    radius = np.sqrt((grid**2).sum(axis=0))
    ball = radius <= 12
    np.testing.assert_array_equal(convex_hull(ball & (radius > 8)), ball)


def test_hull_of_flat_and_tiny_particles_is_themselves() -> None:
    flat = np.zeros((9, 9, 9), dtype=bool)
    flat[4, 2:7, 2:7] = True
    np.testing.assert_array_equal(convex_hull(flat), flat)
    assert convex_hull(np.zeros((5, 5, 5), dtype=bool)).sum() == 0


def test_dilation_grows_the_mask_by_its_radius() -> None:
    point = np.zeros((11, 11, 11), dtype=bool)
    point[5, 5, 5] = True
    grown = particle_mask(point, "strict", dilate_vox=2)
    assert grown.sum() == 33  # voxels of a ball of radius 2
    assert grown[5, 5, 7]
    assert not grown[5, 6, 7]


def test_batches_hold_the_same_boxes_in_order() -> None:
    generator = np.random.default_rng(0)
    volume = generator.normal(size=SHAPE)
    centres = generator.uniform(0, np.asarray(SHAPE) - 1, size=(11, 3))
    batches = list(iterate_boxes(volume, centres, 7, batch=4))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(batches), cut_boxes(volume, centres, 7))
    assert list(iterate_boxes(volume, np.zeros((0, 3)), 7)) == []
