"""Ice: tilted slabs are darker, holes are bright, and no tilt looks through the side of the box."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import draw_exposures
from cryoembed.simulate.imaging.ice import Ice

SHAPE = (20, 32, 64)


def ice(mask=None, **settings):
    config = ImagingConfig(tilts_deg=(-60, 0, 60), mean_free_path=3000, **settings)
    exposures = draw_exposures(config, config.planned_tilts_deg(), 10.0, np.random.default_rng(0))
    return Ice(SHAPE, 10.0, exposures, mask)


def test_a_slab_lets_through_what_the_formula_says():
    assert ice().through(1) == pytest.approx(np.exp(-200 / 3000))
    assert ice().through(0) == pytest.approx(np.exp(-400 / 3000))


def test_a_mask_of_a_slab_is_that_slab_up_to_the_borders():
    mask = np.zeros(SHAPE, bool)
    mask[4:16] = True
    for tilt, path in ((0, 240), (1, 120), (2, 240)):
        assert ice(mask).through(tilt) == pytest.approx(np.exp(-path / 3000), rel=0.006)


def test_a_hole_in_the_ice_is_bright():
    mask = np.ones(SHAPE, bool)
    mask[:, 8:24, 40:60] = False
    through = ice(mask).through(1)
    assert through[16, 50] == pytest.approx(1.0)
    assert through[16, 10] == pytest.approx(np.exp(-200 / 3000), rel=1e-3)
    assert through.shape == SHAPE[1:]


def test_odd_sizes_keep_their_shape():
    mask = np.ones((21, 33, 63), bool)
    mask[:3] = False
    config = ImagingConfig(tilts_deg=(-60, 0, 60))
    exposures = draw_exposures(config, config.planned_tilts_deg(), 10.0, np.random.default_rng(0))
    through = Ice((21, 33, 63), 10.0, exposures, mask).through(1)
    assert through.shape == (33, 63)
    assert through == pytest.approx(np.exp(-180 / exposures.mean_free_path), rel=0.01)


def test_impossible_masks_are_refused():
    with pytest.raises(InputError, match="no ice at all"):
        ice(np.zeros(SHAPE, bool))
    with pytest.raises(InputError, match="the density"):
        ice(np.ones((2, 2, 2), bool))


@pytest.mark.parametrize("shape", [(20, 16, 96), (22, 16, 98), (21, 17, 97), (20, 16, 99)])
def test_the_ice_turns_about_the_voxel_that_the_density_turns_about(shape):
    depth, height, length = shape
    across = np.arange(length) - length // 2
    mask = np.zeros(shape, bool)
    mask[6:16, :, 40:58] = True
    dz, dx = 10.5 - depth // 2, 48.5 - length // 2  # the middle of the ice
    config = ImagingConfig(tilts_deg=(-60, 0, 60), mean_free_path=3000)
    exposures = draw_exposures(config, config.planned_tilts_deg(), 10.0, np.random.default_rng(0))
    seen = Ice(shape, 10.0, exposures, mask)
    for tilt, angle in enumerate(np.deg2rad([-60, 0, 60])):
        path = -3000 * np.log(seen.through(tilt))[height // 2]
        there = dx * np.cos(angle) - dz * np.sin(angle)
        assert (path * across).sum() / path.sum() == pytest.approx(there, abs=0.02)
