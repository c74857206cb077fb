"""Filters: the formula inside an image, a mirror at its borders, and nothing that comes in on the opposite side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.correction import correct
from cryoembed.simulate.imaging.detector import Detector
from cryoembed.simulate.imaging.exposures import draw_exposures
from cryoembed.simulate.imaging.fourier import filtered, mirrored_grid

SHAPE = (48, 61)


def gaussian(sigma_px, pixel=10.0):
    ky, kx = mirrored_grid(SHAPE, pixel)
    return np.exp(-2 * (np.pi * sigma_px * pixel) ** 2 * (ky**2 + kx**2))


def test_a_filter_is_the_convolution_with_its_kernel_in_front_of_a_mirror():
    image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    expected = ndimage.gaussian_filter(image, 2.0, mode="reflect", truncate=6)
    assert np.abs(filtered(image, gaussian(2.0)) - expected).max() < 1e-3
    assert filtered(image, gaussian(5.0)).mean() == pytest.approx(image.mean(), abs=1e-6)
    assert np.array_equal(filtered(image, 2.0), 2 * image)


def striped(border):
    image = np.full(SHAPE, 100.0, np.float32)
    image[border] = 20.0
    return image


@pytest.mark.parametrize(("border", "opposite"), [(np.s_[:3], np.s_[-1]), (np.s_[:, -3:], np.s_[:, 0])])
def test_a_stripe_at_one_border_leaves_the_opposite_one_alone(border, opposite):
    image = striped(border)
    camera = Detector.of(ImagingConfig(detector_pixel=10.0), SHAPE, 10.0)
    blurred = {"blur": filtered(image, gaussian(1.0)), "camera": camera.shown(camera.arriving(image))}
    config = ImagingConfig(ctf_correction="none", cosine_weighting=False, lowpass=40.0)
    exposures = draw_exposures(config, np.array([-1.0, 0.0, 1.0]), 10.0, np.random.default_rng(0))
    blurred["correction"] = -correct([image], 10.0, config, exposures, 1)[0]
    for name, one in blurred.items():
        assert one[opposite] == pytest.approx(100.0, abs=0.6), name  # the camera scatters a little everywhere
