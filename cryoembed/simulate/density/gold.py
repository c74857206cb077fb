"""Gold: the density of beads, and what they take out of the beam."""

from __future__ import annotations

import numpy as np

from cryoembed.simulate.density.materials import PROTEIN_POTENTIAL, absorption
from cryoembed.simulate.density.potential import scattering
from cryoembed.simulate.electrons import REST_ENERGY, energy, interaction_constant, wavelength

GOLD_DENSITY = 8.0  # of protein's 1: 27 V; gold's own potential (30 V by its atoms) less ice's
_ATOMS = 19.3 / 196.97 * 0.602214076  # per A^3


def gold_absorption(voltage_kv: float, aperture: float) -> float:
    """Imaginary potential of gold over ice in volts: electrons lost to the energy filter and to the aperture.

    Inelastic scattering as for every material (`materials.absorption`); elastic scattering beyond the objective
    aperture by the first Born approximation, ``8 pi lambda^2 gamma^2`` times the integral of ``f(s)^2 s`` from half the
    aperture's frequency on, with the five Gaussians of `potential.scattering`. (A share of the potential, as the
    amplitude contrast of light atoms is, gives gold half of this.)

    Parameters
    ----------
    aperture
        1/A: the spatial frequency where the objective aperture ends; infinite: none.
    """
    amplitudes, widths = scattering(79)
    sums = widths[:, None] + widths[None]
    gamma = 1 + energy(voltage_kv) / REST_ENERGY
    beyond = np.exp(-sums * (aperture / 2) ** 2) / sums
    section = (
        4 * np.pi * (wavelength(voltage_kv) * gamma) ** 2 * float((np.outer(amplitudes, amplitudes) * beyond).sum())
    )
    lost = _ATOMS * section / (2 * interaction_constant(voltage_kv))
    return float(lost) + absorption("gold", voltage_kv) - absorption("ice", voltage_kv)


def extra_absorption(voltage_kv: float, aperture: float, amplitude_contrast: float) -> float:
    """Volts that gold absorbs beyond the share ``amplitude_contrast`` of its potential; never negative."""
    return max(gold_absorption(voltage_kv, aperture) - amplitude_contrast * GOLD_DENSITY * PROTEIN_POTENTIAL, 0.0)
