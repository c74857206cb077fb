"""Weights of tilts before back-projection."""

from __future__ import annotations

import numpy as np

from cryoembed.simulate.imaging.weighting import angular_weights, ramp_filter

DENSE = np.arange(-90.0, 90.0, 2.0)
WEDGE = np.arange(-60.0, 61.0, 3.0)


def test_irregular_and_repeated_tilts_count_for_the_angle_they_stand_for():
    np.testing.assert_allclose(np.rad2deg(angular_weights([0.0, 2.0, 6.0, 8.0])), [2, 3, 3, 2])
    np.testing.assert_allclose(np.rad2deg(angular_weights([4.0, 0.0, 0.0, -4.0])), [4, 2, 2, 4])
    np.testing.assert_allclose(angular_weights([5.0]), [np.pi])


def test_exposure_takes_high_frequencies_first():
    image = np.random.default_rng(0).standard_normal((1, 64, 64)).astype(np.float32)
    fresh, spent = (ramp_filter(image, 5.0, doses=[dose], hann=False) for dose in (0.0, 60.0))
    left = np.abs(np.fft.rfft2(spent[0])) / np.abs(np.fft.rfft2(fresh[0]))
    assert np.median(left[1:4, 2:5]) > 3 * np.median(left[24:40, 24:])


def test_a_bright_border_leaves_no_stripe():
    """The sample goes on beyond the image: a level image has next to nothing at its borders after filtering."""
    filtered = ramp_filter(np.full((1, 40, 64), 30.0, np.float32), 10.0)
    assert np.abs(filtered).max() < 0.1
