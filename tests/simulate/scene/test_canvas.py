"""Chains of stamps: one object, nothing overlapped, cut off at the faces."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.scene.canvas import Canvas

SHAPE = (20, 24, 28)


def ball(radius=2.0):
    axis = np.arange(7) - 3
    squared = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).astype(float)
    return np.exp(-squared / 4).astype(np.float32), squared <= radius**2


def chain(centres):
    return [(*ball(), tuple(centre)) for centre in centres]


@pytest.fixture
def canvas():
    return Canvas(SHAPE, 10.0, gap=0.0, margin=0.0, classes=("dna",))


ROW = {"label": "dna", "z": 100.0, "y": 100.0, "x": 100.0}


def test_a_chain_is_one_object(canvas):
    stamps = chain([(10, 10, 10), (10, 10, 12), (10, 10, 14)])
    assert canvas.place_stamps(stamps, canvas.label_id("dna"), ROW)
    assert len(canvas.rows) == 1
    assert set(np.unique(canvas.occupancy)) == {0, 1}
    assert np.array_equal(canvas.occupancy > 0, canvas.class_mask == 1)
    assert canvas.occupancy[10, 10, 10] == canvas.occupancy[10, 10, 14] == 1
    # the larger of overlapping stamps, not their sum
    assert canvas.density.max() == pytest.approx(1.0)


def test_stamps_that_add_up_keep_their_mass(canvas):
    stamps = chain([(10, 10, 10), (10, 10, 12)])
    assert canvas.place_stamps(stamps, 1, ROW, overlap="add")
    assert canvas.density.sum() == pytest.approx(2 * ball()[0].sum(), rel=1e-5)


def test_a_second_chain_adds_to_the_first_but_never_overlaps(canvas):
    assert canvas.place_stamps(chain([(10, 10, 10)]), 1, ROW)
    before = canvas.density.copy(), canvas.occupancy.copy()
    assert not canvas.place_stamps(chain([(10, 10, 20), (10, 10, 13)]), 1, ROW)
    assert np.array_equal(canvas.density, before[0])
    assert np.array_equal(canvas.occupancy, before[1])
    assert canvas.place_stamps(chain([(10, 10, 15)]), 1, ROW)
    assert canvas.density.sum() == pytest.approx(2 * ball()[0].sum(), rel=1e-5)
    assert (canvas.occupancy == 2).sum() == ball()[1].sum()


def test_faces_cut_a_chain_only_if_they_may(canvas):
    stamps = chain([(10, 10, 26), (10, 10, 29)])
    assert not canvas.place_stamps(stamps, 1, ROW)
    assert canvas.place_stamps(stamps, 1, ROW, may_stick_out=True)
    assert not canvas.place_stamps(chain([(-9, 5, 5)]), 1, ROW, may_stick_out=True)  # nothing of it would be left


def test_the_gap_of_a_chain_stays_free():
    canvas = Canvas(SHAPE, 10.0, gap=20.0, margin=0.0, classes=("dna",))
    assert canvas.place_stamps(chain([(10, 10, 10)]), 1, ROW)
    assert not canvas.place_stamps(chain([(10, 10, 16)]), 1, ROW)
    assert canvas.place_stamps(chain([(10, 10, 17)]), 1, ROW)
