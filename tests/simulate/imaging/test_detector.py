"""The camera: its curves are the measured ones, its noise is Poisson's, its efficiency is what the curve says."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.detector import Detector, count, dqe_k2, mtf_k2

SHAPE = (64, 64)
K2 = Detector.of(ImagingConfig(detector_pixel=10.0), SHAPE, 10.0)  # unbinned: all of the curves matter
PERFECT = Detector.of(ImagingConfig(detector="none"), SHAPE, 10.0)


@pytest.mark.parametrize(("curve", "name", "error"), [(mtf_k2, "MTF", 0.004), (dqe_k2, "DQE", 0.013)])
def test_curves_are_the_measured_ones(shared_data, curve, name, error):
    share, value = np.loadtxt(shared_data / f"simconfig/K2SUMMIT_{name}_300kV.csv", delimiter=",").T
    assert np.abs(curve(share) - value).max() < error


def test_curves_fall_and_stay_positive():
    share = np.linspace(0.01, 1.5, 300)
    for curve in (mtf_k2, dqe_k2):
        assert (np.diff(curve(share)) <= 1e-3).all()
        assert curve(share).min() > 0.1
    assert mtf_k2(0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("detector", [K2, PERFECT])
def test_a_flat_field_keeps_its_mass(detector):
    flat = np.full(SHAPE, 50.0, np.float32)
    assert detector.noise_free(flat) == pytest.approx(50.0, rel=1e-4)
    assert detector.shown(detector.arriving(flat)) == pytest.approx(50.0, rel=1e-4)
    shown = detector.shown(count(detector.arriving(np.full((64, 64), 200, np.float32)), np.random.default_rng(0)))
    assert shown.mean() == pytest.approx(200, rel=0.01)


def test_counts_have_their_mean_as_variance():
    counts = count(np.full((300, 300), 3.7, np.float32), np.random.default_rng(0))
    assert counts.mean() == pytest.approx(3.7, rel=0.02)
    assert counts.var() == pytest.approx(3.7, rel=0.02)
    assert (counts == np.rint(counts)).all()


def test_the_signal_is_blurred_alike_with_and_without_noise():
    image = np.random.default_rng(0).uniform(90, 110, SHAPE).astype(np.float32)
    assert np.allclose(K2.shown(K2.arriving(image)), K2.noise_free(image), atol=1e-3)


def test_the_ratio_of_signal_to_noise_falls_by_the_dqe():
    electrons, generator = 400.0, np.random.default_rng(1)
    flat = np.full(SHAPE, electrons, np.float32)
    noise = [np.fft.rfft2(K2.shown(count(K2.arriving(flat), generator)) - electrons) for _ in range(300)]
    power = np.mean(np.abs(noise) ** 2, axis=0) / flat.size  # per pixel
    share = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.rfftfreq(64), indexing="ij")) * 2
    # what comes in has the noise power `electrons`; what comes out passed the MTF
    measured = mtf_k2(share) ** 2 * electrons / power
    for row, column in [(0, 8), (16, 0), (0, 24), (20, 20)]:
        area = np.s_[row : row + 4, column : column + 4]
        assert measured[area].mean() == pytest.approx(dqe_k2(share)[area].mean(), rel=0.08)


def test_dark_places_hold_no_negative_electrons():
    image = np.zeros(SHAPE, np.float32)
    image[32, 32] = 1000
    assert K2.arriving(image).min() >= 0


def test_a_smaller_camera_pixel_blurs_less():
    fine = Detector.of(ImagingConfig(detector_pixel=2.5), SHAPE, 10.0)
    default = Detector.of(ImagingConfig(), SHAPE, 10.0)
    assert fine.mtf.min() > default.mtf.min() > K2.mtf.min()


def test_camera_pixels_larger_than_voxels_are_refused():
    with pytest.raises(InputError, match="larger than the voxels"):
        Detector.of(ImagingConfig(detector_pixel=12.0), SHAPE, 10.0)
