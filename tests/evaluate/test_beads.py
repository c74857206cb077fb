"""The width of beads."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.evaluate.beads import bead_widths, half_width


def test_width_of_gaussian_beads_is_their_known_one():
    voxel, sd = 10.0, 40.0
    grid = np.indices((40, 50, 60)) * voxel
    centre = np.array([203.0, 254.0, 296.0])
    volume = -np.exp(-((grid - centre[:, None, None, None]) ** 2).sum(axis=0) / (2 * sd**2)).astype(np.float32)
    widths = bead_widths(volume, centre[None] / voxel + 3, voxel)
    assert widths == pytest.approx(np.full((1, 2), 2 * np.sqrt(2 * np.log(2)) * sd), rel=0.02)


def test_peak_that_runs_out_of_the_line_has_no_width():
    assert np.isnan(half_width(np.array([4.0, 3.0, 2.5, 2.2]), 1))
    assert half_width(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), 2) == pytest.approx(1.0)
