"""Formulas against their published numbers and against torch-ctf."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.electrons import wavelength
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.fourier import frequency_grid
from cryoembed.simulate.imaging.optics import (
    aberration,
    coherence,
    ctf,
    damage,
    sample_blur,
)


def test_ctf_has_its_zeros_where_the_formula_says():
    # without spherical aberration and amplitude contrast: k^2 = n / (lambda D)
    zeros = np.sqrt(np.arange(1, 6) / (wavelength(300) * 3e4))
    phase = aberration(0.0, zeros, 3.0, voltage_kv=300, cs_mm=0.0)
    assert np.abs(ctf(phase, 0.0)).max() < 1e-5
    assert ctf(aberration(0.0, 0.7 * zeros[0], 3.0, voltage_kv=300, cs_mm=0.0), 0.0) > 0.9
    assert ctf(aberration(0.0, 0.0, 3.0, voltage_kv=300, cs_mm=2.7), 0.1) == pytest.approx(0.1)


def test_a_phase_plate_shows_the_lowest_frequencies():
    assert ctf(aberration(0.0, 0.0, 0.5, voltage_kv=300, cs_mm=2.7, phase_shift_deg=90), 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("astigmatism_deg", [0.0, 25.0, 90.0, 140.0])
def test_ctf_is_that_of_torch_ctf(astigmatism_deg):
    torch = pytest.importorskip("torch")
    torch_ctf = pytest.importorskip("torch_ctf")
    theirs = torch_ctf.calculate_ctf_2d(
        defocus=torch.tensor(2.5),
        astigmatism=torch.tensor(0.3),
        astigmatism_angle=torch.tensor(astigmatism_deg),
        voltage=torch.tensor(300.0),
        spherical_aberration=torch.tensor(2.7),
        amplitude_contrast=torch.tensor(0.1),
        phase_shift=torch.tensor(20.0),
        pixel_size=torch.tensor(5.0),
        image_shape=(48, 64),
        rfft=True,
        fftshift=False,
    ).numpy()
    ky, kx = frequency_grid((48, 64), 5.0)
    phase = aberration(
        ky,
        kx,
        2.5,
        voltage_kv=300,
        cs_mm=2.7,
        astigmatism_um=0.3,
        astigmatism_deg=astigmatism_deg,
        phase_shift_deg=20.0,
    )
    assert np.abs(ctf(phase, 0.1) - theirs).max() < 1e-3


def test_damage_follows_the_published_curve():
    # Grant and Grigorieff 2015: critical exposure at 1/3 A is 0.245 * 3^1.665 + 2.81
    critical = 0.245 * 3**1.665 + 2.81
    assert damage(1 / 3, critical) == pytest.approx(np.exp(-0.5))
    assert damage(0.05, 0.0) == 1.0


def test_envelopes_fall_from_one():
    k = np.linspace(0, 0.5, 200)
    config = ImagingConfig(aperture_um=0)
    for envelope in (coherence(k, 3.0, config), sample_blur(k, config)):
        assert envelope[0] == 1
        assert (np.diff(envelope) <= 1e-6).all()
    # Gaussian motion of 4 A: exp(-2 pi^2 4^2 k^2)
    moved = sample_blur(0.05, ImagingConfig(bfactor=0, motion_blur=4.0))
    assert moved == pytest.approx(np.exp(-2 * np.pi**2 * 16 * 0.05**2), rel=1e-5)
    # chromatic focal spread: Cc dE / E = 63 A full width, s.d. 26.8 A; exp(-(pi lambda s)^2 k^4 / 2)
    chromatic = coherence(0.2, 0.0, ImagingConfig(illumination_mrad=0, aperture_um=0, cs_mm=0))
    spread = 2.7e7 * 0.7 / 3e5 / np.sqrt(8 * np.log(2))
    assert chromatic == pytest.approx(np.exp(-((np.pi * wavelength(300) * spread) ** 2) * 0.2**4 / 2), rel=1e-4)


def test_the_aperture_ends_where_its_angle_does():
    # 50 um at 4.7 mm are 10.64 mrad; over the wavelength 0.540 1/A
    config = ImagingConfig(illumination_mrad=0, energy_spread_ev=0)
    assert coherence(0.53, 3.0, config) > 0.9
    assert coherence(0.55, 3.0, config) == 0
