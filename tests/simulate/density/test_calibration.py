"""Calibration: any density becomes a template of its mass, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.calibration import calibrated
from cryoembed.simulate.density.template import DENSITY_PER_KDA


def centre_of_mass(density):
    return np.asarray(ndimage.center_of_mass(density)) - density.shape[0] // 2


def test_calibrated_recentres_and_rescales_any_map(generator):
    density = np.zeros((24, 30, 28))
    density[8:14, 15:21, 6:12] = generator.uniform(100, 200, (6, 6, 6))
    template = calibrated("box", density - 0.1, 10.0, 120.0)
    assert np.abs(centre_of_mass(template.density)).max() < 0.05
    assert template.integral == pytest.approx(120 * DENSITY_PER_KDA, rel=1e-5)


@pytest.mark.parametrize("mass", [0.0, -5.0, float("nan")])
def test_a_mass_that_is_not_positive_is_refused(mass):
    with pytest.raises(InputError, match="not positive"):
        calibrated("x", np.ones((5, 5, 5)), 10.0, mass)


def test_a_density_without_positive_mass_is_refused():
    with pytest.raises(InputError, match="no positive mass"):
        calibrated("x", -np.ones((5, 5, 5)), 10.0, 100.0)


def test_a_box_smaller_than_the_particle_is_refused():
    density = np.zeros((20, 20, 20))
    density[4:16, 4:16, 4:16] = 1
    with pytest.raises(InputError, match="smaller than the particle"):
        calibrated("x", density, 10.0, 100.0, box_vox=9)
    with pytest.raises(InputError, match="smaller than the particle"):
        template_from_atoms("x", [(0, 0, 0), (0, 0, 300.0)], [1, 1], 10.0, 100.0, box_vox=9)
