"""The electron of a microscope: its wavelength, and how far a potential turns its phase."""

from __future__ import annotations

import math

from cryoembed.errors import InputError

REST_ENERGY = 510998.95  # eV


def wavelength(voltage_kv: float) -> float:
    """Relativistic wavelength in A (0.0197 at 300 kV)."""
    volts = energy(voltage_kv)
    return 12.2642598 / math.sqrt(volts * (1 + 0.978475598e-6 * volts))


def interaction_constant(voltage_kv: float) -> float:
    """Phase per projected potential in rad/(V A): 6.53e-4 at 300 kV (Kirkland 2010, equation 5.6)."""
    volts = energy(voltage_kv)
    ratio = (REST_ENERGY + volts) / (2 * REST_ENERGY + volts)
    return 2 * math.pi / (wavelength(voltage_kv) * volts) * ratio


def energy(voltage_kv: float) -> float:
    """Kinetic energy in eV.

    Raises
    ------
    InputError
        If the voltage is not a positive number.
    """
    if not (math.isfinite(voltage_kv) and voltage_kv > 0):
        raise InputError(f"voltage {voltage_kv} kV is not positive; expected for example 300")
    return voltage_kv * 1e3
