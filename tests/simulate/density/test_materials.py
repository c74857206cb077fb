"""Materials: mean free paths as published."""

from __future__ import annotations

import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.density.materials import absorption, mean_free_path


def test_ice_absorbs_as_in_shrec_2021():
    assert absorption("ice") == pytest.approx(0.208, rel=0.03)


def test_denser_materials_absorb_more():
    order = [absorption(material) for material in ("ice", "membrane", "protein", "gold")]
    assert order == sorted(order)
    assert 150 < mean_free_path("protein") / 10 < 250  # nm, at 300 kV


def test_slower_electrons_are_absorbed_sooner():
    assert mean_free_path("ice", 100) < mean_free_path("ice", 200) < mean_free_path("ice", 300)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="unknown"):
        absorption("wood")
    with pytest.raises(InputError, match="not positive"):
        absorption("ice", 0)
