"""Electron optics as formulas: contrast transfer, envelopes, radiation damage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.electrons import wavelength
from cryoembed.simulate.imaging.acquisition import OpticsSettings
from cryoembed.simulate.imaging.fourier import Filter


def aberration(
    ky: npt.ArrayLike,
    kx: npt.ArrayLike,
    defocus_um: float,
    *,
    voltage_kv: float,
    cs_mm: float,
    astigmatism_um: float = 0.0,
    astigmatism_deg: float = 0.0,
    phase_shift_deg: float = 0.0,
) -> Filter:
    """Phase (rad) that the lens adds at spatial frequencies (1/A): positive at low resolution for underfocus.

    ``pi lambda D(a) k^2 - pi/2 Cs lambda^3 k^4`` with ``D(a) = D + A cos 2(a - a0)``: Mindell and Grigorieff 2003,
    equations 1 and 2; A is half the difference of the two defoci, a0 the angle from x (image columns) to the larger.
    """
    y, x = np.asarray(ky, dtype=np.float32), np.asarray(kx, dtype=np.float32)
    length = wavelength(voltage_kv)
    square = x**2 + y**2
    phase = np.float32(np.pi * length * defocus_um * 1e4) * square
    phase -= np.float32(0.5 * np.pi * cs_mm * 1e7 * length**3) * square**2
    if astigmatism_um:
        angle = np.deg2rad(2 * astigmatism_deg)
        skew = np.float32(np.cos(angle)) * (x**2 - y**2) + np.float32(2 * np.sin(angle)) * x * y
        phase += np.float32(np.pi * length * astigmatism_um * 1e4) * skew
    return np.asarray(phase + np.float32(np.deg2rad(phase_shift_deg)), dtype=np.float32)


def ctf(phase: npt.ArrayLike, amplitude_contrast: float) -> Filter:
    """Contrast transfer ``sin(phase + asin A)`` of an `aberration`: positive where protein appears dark."""
    return np.asarray(np.sin(np.asarray(phase) + np.float32(np.arcsin(amplitude_contrast))), dtype=np.float32)


def coherence(k: npt.ArrayLike, defocus_um: float, config: OpticsSettings) -> Filter:
    """Envelope of the lens: energy spread, size of the source and objective aperture.

    Energy spread ``exp(-(pi lambda Cc dE/E k^2)^2 / (16 ln 2))``, source ``exp(-(pi q (D lambda k - Cs lambda^3
    k^3))^2)`` with ``q = illumination / lambda``: Frank 2006, equations 2.9 and 2.11; the aperture ends at
    ``radius / (focal length lambda)``.
    """
    frequency = np.asarray(k, dtype=np.float32)
    length = wavelength(config.voltage_kv)
    blur = np.pi * length * config.cc_mm * 1e7 * config.energy_spread_ev / (config.voltage_kv * 1e3)
    slope = np.float32(defocus_um * 1e4 * length) * frequency
    slope = slope - np.float32(config.cs_mm * 1e7 * length**3) * frequency**3
    source = np.pi * config.illumination_mrad * 1e-3 / length
    exponent = np.float32(blur**2 / (16 * np.log(2))) * frequency**4 + np.float32(source**2) * slope**2
    envelope = np.exp(-exponent)
    envelope *= frequency <= aperture_end(config)
    return np.asarray(envelope, dtype=np.float32)


def aperture_end(config: OpticsSettings) -> float:
    """Spatial frequency (1/A) where the objective aperture ends: ``radius / (focal length lambda)``; infinite: none."""
    if config.aperture_um == 0:
        return float("inf")
    return config.aperture_um * 0.5e-3 / (config.focal_length_mm * wavelength(config.voltage_kv))


def sample_blur(k: npt.ArrayLike, config: OpticsSettings) -> Filter:
    """Envelope of the sample: B-factor ``exp(-B k^2 / 4)`` and Gaussian motion ``exp(-2 pi^2 s^2 k^2)``."""
    factor = config.bfactor / 4 + 2 * np.pi**2 * config.motion_blur**2
    return np.asarray(np.exp(np.float32(-factor) * np.asarray(k, dtype=np.float32) ** 2), dtype=np.float32)


def damage(frequency: npt.ArrayLike, exposure: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Amplitude left at spatial frequencies (1/A) after an exposure (e/A^2), at 300 kV.

    ``exp(-N / (2 Nc))`` with ``Nc = 0.245 k^-1.665 + 2.81``: Grant and Grigorieff 2015, equation 3.
    """
    critical = 0.245 * np.maximum(np.asarray(frequency, dtype=np.float64), 1e-4) ** -1.665 + 2.81
    return np.asarray(np.exp(-np.asarray(exposure, dtype=np.float64) / (2 * critical)), dtype=np.float64)
