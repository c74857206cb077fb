"""Beyond the sides: tilted images of an even sample are even."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.imaging.projection import project, project_slabs
from cryoembed.simulate.imaging.surroundings import Mirrored, reach_vox

SHAPE = (16, 20, 48)


@pytest.mark.parametrize("tilt", [0.0, 30.0, -60.0])
def test_a_tilted_image_of_an_even_slab_is_even(tilt):
    slab = np.ones(SHAPE, np.float32)
    seen = project(Mirrored(slab, reach_vox(SHAPE, [tilt])), [tilt], width_px=48, compensate=False)[0]
    assert seen == pytest.approx(16 / np.cos(np.radians(tilt)), rel=0.06)
    if tilt:
        assert project(slab, [tilt])[0, 10, 1] < 0.8 * seen[10, 1]


def test_the_volume_itself_stays_where_it_is():
    volume = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    assert np.allclose(project(Mirrored(volume, 31), [0.0], width_px=48), project(volume, [0.0]), atol=0.02 * 16)
    assert np.array_equal(Mirrored(volume, 31)[:, 2:5][:, :, 31:79], volume[:, 2:5])
    assert np.array_equal(Mirrored(volume, 100)[:, :][:, :, 99], volume[:, :, 0])


def test_slabs_see_the_same():
    volume = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    mirrored = Mirrored(volume, reach_vox(SHAPE, [40.0]))
    slabs = project_slabs(mirrored, 40.0, 5.0, width_px=48)
    assert np.allclose(slabs.sum(0), project(mirrored, [40.0], width_px=48)[0], atol=1e-2)


def test_no_tilt_looks_endlessly_far():
    assert reach_vox(SHAPE, [0.0]) == 1
    assert reach_vox(SHAPE, [-90.0, 90.0]) == 3 * 48 + 1
