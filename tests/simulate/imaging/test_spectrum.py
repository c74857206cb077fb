"""Spectrum matching: ring by ring the wanted amplitude, the mean untouched."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.fourier import filtered
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
    wanted = spectra_of(np.stack([noise(0, 0), noise(1, 1.0, spread=30)]), 10.0, [30.0, -30.0])
    image = noise(2, 0.5)
    for angle, row in ((60.0, 0), (2.0, 0), (-21.0, 1)):
        matched = filtered(image, matching_filter(image, 10.0, wanted, angle))
        _, power = radial_power(matched, 10.0)
        assert np.median(np.abs(np.log(power / wanted.power[row]))) < 0.15
        assert matched.mean() == pytest.approx(image.mean(), rel=1e-4)


def test_images_without_a_spectrum_are_refused():
    with pytest.raises(InputError, match="constant"):
        radial_power(np.full((32, 32), 5.0, np.float32), 10.0)
    with pytest.raises(InputError, match="positive"):
        radial_power(noise(0, 0) - 200.5, 10.0)
    with pytest.raises(InputError, match="tilt series"):
        spectra_of(noise(0, 0), 10.0, [0.0])
    with pytest.raises(InputError, match="all images are blank"):
        spectra_of(np.zeros((2, 32, 32)), 10.0, [0.0, 1.0])


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (128, 128), (96, 112)])
def test_small_images_are_matched_at_low_frequencies_as_well(shape):
    for seed in range(8):
        wanted = spectra_of(noise(seed, 0, shape, spread=20)[None], 10.0, [0.0])
        assert (wanted.power > 0.05 * wanted.power.mean()).all()  # no ring holds the mean alone
        image = noise(100 + seed, 0, shape)
        transfer = matching_filter(image, 10.0, wanted, 0.0)
        assert transfer[0, 0] == 1
        rest = transfer.ravel()[1:]
        assert rest.min() > 0.5
        assert rest.max() < 8


def test_images_without_a_spectrum_lend_none_and_are_named(caplog):
    images = np.stack([noise(0, 0), np.zeros((96, 112)), noise(1, 0, spread=30)])
    spectra = spectra_of(images, 10.0, [-10.0, 0.0, 10.0])
    assert spectra.tilts_deg.tolist() == [-10.0, 10.0]
    assert "image 2, at 0 degrees, lends no spectrum" in caplog.text
