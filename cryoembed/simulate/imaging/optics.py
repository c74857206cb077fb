"""Electron optics as formulas: wavelength, contrast transfer, radiation damage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ctf(
    frequency: npt.ArrayLike, defocus_um: float, *, voltage_kv: float, cs_mm: float, amplitude_contrast: float
) -> npt.NDArray[np.float64]:
    """Contrast transfer at spatial frequencies (1/A), with the sign that shows particles bright at low resolution.

    ``sin(pi lambda D k^2 - pi/2 Cs lambda^3 k^4 + asin A)`` with underfocus D positive (Mindell and Grigorieff 2003,
    equation 1, negated); overfocus would show particles dark, so its sign is turned as well.
    """
    k = np.asarray(frequency, dtype=np.float64)
    wavelength = electron_wavelength(voltage_kv)
    phase = np.pi * wavelength * defocus_um * 1e4 * k**2 - 0.5 * np.pi * cs_mm * 1e7 * wavelength**3 * k**4
    sign = -1.0 if defocus_um < 0 else 1.0
    return np.asarray(np.sin(sign * phase + np.arcsin(amplitude_contrast)), dtype=np.float64)


def electron_wavelength(voltage_kv: float) -> float:
    """Relativistic wavelength in A (0.0197 at 300 kV)."""
    volts = voltage_kv * 1e3
    return float(12.2642598 / np.sqrt(volts * (1 + 0.978475598e-6 * volts)))


def damage(frequency: npt.ArrayLike, exposure: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Amplitude left at spatial frequencies (1/A) after an exposure (e/A^2), at 300 kV.

    ``exp(-N / (2 Nc))`` with ``Nc = 0.245 k^-1.665 + 2.81``: Grant and Grigorieff 2015, equation 3.
    """
    critical = 0.245 * np.maximum(np.asarray(frequency, dtype=np.float64), 1e-4) ** -1.665 + 2.81
    return np.asarray(np.exp(-np.asarray(exposure, dtype=np.float64) / (2 * critical)), dtype=np.float64)
