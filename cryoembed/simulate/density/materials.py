"""What beams meet: electrostatic potential and absorption (imaginary potential) of ice, protein, membranes and gold.

The interaction potential is ``V_el + i V_ab`` (SHREC 2021, section 2.1): the first shifts the phase of the electron
wave, the second takes electrons out of the image (inelastic scattering, which the energy filter removes). The imaging
takes the absorption of light matter as a share of its potential, the amplitude contrast; that of gold is from here.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.electrons import REST_ENERGY, interaction_constant
from cryoembed.simulate.electrons import energy as energy_of

Material = Literal["ice", "protein", "nucleic", "membrane", "gold"]

ICE_POTENTIAL = 4.530  # V, amorphous ice of 0.93 g / cm^3 (SHREC 2021, section 2.1)
# Volts over ice of density 1.0: the electrostatic potential of a molecule less that of the ice it displaces, over
# mass x DENSITY_PER_KDA. Mean of 23 protein structures (s.d. 0.03; RNA has 3.48) by tests/benchmark/calibration.py.
# Protein of 0.81 Da / A^3 then has a mean potential of 4.53 + 3.32 = 7.85 V.
PROTEIN_POTENTIAL = 3.32

_AVOGADRO = 6.02214076e23
_MEAN_LOSS = 20.0  # eV, plasmon
# g / cm^3, g / mol, atoms of Vulovic's formula unit: hydrogens are apart, others count by the root of their number
_UNITS: dict[Material, tuple[float, float, float, tuple[int, ...]]] = {
    "ice": (0.93, 18.015, 2, (8,)),
    "nucleic": (1.85, 321.0, 10.7, (6,) * 9 + (7,) * 4 + (8,) * 7 + (15,)),
    "membrane": (1.01, 734.04, 80, (6,) * 40 + (7,) + (8,) * 8 + (15,)),  # DPPC
    "gold": (19.3, 196.97, 0, (79,)),
}
_PROTEIN = (1.35, 7.2)  # g / cm^3, g / mol of a mean atom, whose cross-section at 100 kV was measured


def mean_free_path(material: Material, voltage_kv: float = 300.0) -> float:
    """Path (A) after which inelastic scattering has left 1 / e of the electrons.

    Vulovic et al. 2013 (J. Struct. Biol. 183, 19), after Langmore & Smith 1992 (Ultramicroscopy 46, 349):
    the cross-section of an element is 1.5e-6 nm^2 sqrt(Z) / beta^2 ln(beta^2 (V + mc^2) / (E / 2)); hydrogen's and a
    mean protein atom's are measured at 100 kV (8.8e-6 and 8.2e-5 nm^2) and scaled to other voltages.
    """
    energy = energy_of(voltage_kv)
    beta2, at_100 = _beta2(energy), _beta2(100e3)
    log = math.log(beta2 * (energy + REST_ENERGY) / (_MEAN_LOSS / 2))
    scaled = at_100 * log / (beta2 * math.log(at_100 * (100e3 + REST_ENERGY) / (_MEAN_LOSS / 2)))
    if material == "protein":
        density, weight = _PROTEIN
        cross_section = 8.2e-5 * scaled
    elif material in _UNITS:
        density, weight, hydrogens, others = _UNITS[material]
        cross_section = 8.8e-6 * scaled * hydrogens + 1.5e-6 / beta2 * log * float(np.sqrt(others).sum())
    else:
        raise InputError(f"material {material!r} is unknown; expected protein or one of {', '.join(_UNITS)}")
    per_nm3 = density / weight * _AVOGADRO * 1e-21
    return 10.0 / (per_nm3 * cross_section)


def absorption(material: Material, voltage_kv: float = 300.0) -> float:
    """Imaginary potential V_ab in volts: intensity falls as exp(-2 sigma V_ab z) = exp(-z / mean free path)."""
    return 1.0 / (2 * interaction_constant(voltage_kv) * mean_free_path(material, voltage_kv))


def _beta2(energy: float) -> float:
    """Squared speed of an electron over that of light."""
    return 1 - (REST_ENERGY / (energy + REST_ENERGY)) ** 2
