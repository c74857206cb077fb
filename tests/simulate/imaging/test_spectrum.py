"""Spectrum matching: ring by ring the wanted amplitude, the mean untouched."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.detector import filtered
from cryoembed.simulate.imaging.spectrum import matching_filter, radial_power, spectra_of


def noise(seed, sigma, shape=(96, 112), spread=10.0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return (200 + spread * field / field.std()).astype(np.float32)


def test_white_noise_has_its_variance_times_the_pixel_as_power():
    _, power = radial_power(noise(0, 0), 10.0)
    assert power[2:].mean() == pytest.approx(0.05**2 * 100, rel=0.05)


def test_power_does_not_depend_on_the_pixel():
    fine = noise(0, 4, (256, 256))
    coarse = fine.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    (k_fine, one), (k_coarse, other) = radial_power(fine, 5.0), radial_power(coarse, 10.0)
    assert np.interp(0.01, k_coarse, other) == pytest.approx(np.interp(0.01, k_fine, one), rel=0.1)


def test_a_matched_image_has_the_wanted_spectrum_and_its_own_mean():
    wanted, image = spectra_of(np.stack([noise(0, 0), noise(1, 1.0, spread=30)]), 10.0), noise(2, 0.5)
    for place, row in ((0.0, 0), (1.0, 1)):
        matched = filtered(image, matching_filter(image, 10.0, wanted, place))
        _, power = radial_power(matched, 10.0)
        assert np.median(np.abs(np.log(power / wanted.power[row]))) < 0.15
        assert matched.mean() == pytest.approx(image.mean(), rel=1e-4)


def test_images_without_a_spectrum_are_refused():
    with pytest.raises(InputError, match="constant"):
        radial_power(np.full((32, 32), 5.0, np.float32), 10.0)
    with pytest.raises(InputError, match="positive"):
        radial_power(noise(0, 0) - 200.5, 10.0)
    with pytest.raises(InputError, match="tilt series"):
        spectra_of(noise(0, 0), 10.0)
