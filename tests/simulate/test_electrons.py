"""Constants of the electron against published tables."""

from __future__ import annotations

import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.electrons import interaction_constant, wavelength


def test_electrons_have_the_wavelength_of_the_tables():
    assert wavelength(300) == pytest.approx(0.019687, abs=2e-6)
    assert wavelength(200) == pytest.approx(0.025079, abs=2e-6)  # Kirkland 2010, table 2.2


def test_potentials_turn_the_phase_as_in_the_tables():
    assert interaction_constant(300) == pytest.approx(6.526e-4, rel=1e-3)
    assert interaction_constant(200) == pytest.approx(7.288e-4, rel=1e-3)
    assert interaction_constant(100) == pytest.approx(9.244e-4, rel=1e-3)


def test_a_voltage_must_be_positive():
    with pytest.raises(InputError, match="not positive"):
        wavelength(0)
