"""Gold: what it takes out of the beam."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.density.gold import GOLD_DENSITY, extra_absorption, gold_absorption
from cryoembed.simulate.density.materials import ICE_POTENTIAL, PROTEIN_POTENTIAL, absorption
from cryoembed.simulate.density.potential import POTENTIAL_PER_SCATTERING, scattering


def test_beads_have_about_the_potential_of_gold_over_ice():
    atoms = 19.3 / 196.97 * 0.602214076  # per A^3
    volts = POTENTIAL_PER_SCATTERING * scattering(79)[0].sum() * atoms - ICE_POTENTIAL
    assert pytest.approx(volts, rel=0.1) == GOLD_DENSITY * PROTEIN_POTENTIAL


def test_the_elastic_part_is_the_integral_of_the_scattering_factor():
    """Numerically, for 300 kV and an aperture that ends at 1 / 2 A: half of what is lost beyond none at all."""
    inelastic = absorption("gold") - absorption("ice")
    amplitudes, widths = scattering(79)
    s = np.linspace(0, 6, 200_001)
    density = (np.exp(-np.outer(s**2, widths)) @ amplitudes) ** 2 * s
    whole, beyond = density.sum(), density[s >= 0.25].sum()
    expected = (gold_absorption(300, 0.0) - inelastic) * beyond / whole
    assert gold_absorption(300, 0.5) - inelastic == pytest.approx(expected, rel=1e-3)
    assert gold_absorption(300, np.inf) == pytest.approx(inelastic)


def test_gold_never_absorbs_less_than_its_share():
    assert extra_absorption(300, 0.54, 0.1) == pytest.approx(
        gold_absorption(300, 0.54) - 0.1 * GOLD_DENSITY * PROTEIN_POTENTIAL
    )
    assert extra_absorption(300, 0.54, 0.5) == 0
