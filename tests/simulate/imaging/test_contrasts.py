"""The contrast of a tilted sample: gold takes more out of the beam than its phase alone would say."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.density.gold import GOLD_DENSITY, gold_absorption
from cryoembed.simulate.electrons import interaction_constant
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.contrasts import Contrasts
from cryoembed.simulate.imaging.exposures import draw_exposures
from cryoembed.simulate.imaging.optics import aperture_end


def contrasts(gold, model="weak_phase", depth=10):
    """Of a slab of gold, ten voxels of 10 A thick, seen without tilt and without a lens that would blur."""
    config = ImagingConfig(
        tilts_deg=(-40.0, 0.0, 40.0), model=model, ctf=model == "multislice", defocus_um=(0.0, 0.0), bfactor=0,
        defocus_jitter_um=0, astigmatism_um=0, cs_mm=0, damage=False, surroundings="mirror",
    )  # fmt: skip
    density = np.zeros((16, 24, 32), dtype=np.float32)
    density[3 : 3 + depth, 8:16] = GOLD_DENSITY
    mask = density > 0
    exposures = draw_exposures(config, config.planned_tilts_deg(), 10.0, np.random.default_rng(0))
    return config, Contrasts(density, 10.0, config, exposures, gold=mask if gold else None, threads=1)


@pytest.mark.parametrize("model", ["weak_phase", "multislice"])
def test_gold_lets_as_many_electrons_through_as_its_absorption_says(model):
    config, with_gold = contrasts(True, model)
    _, without = contrasts(False, model)
    lost = {
        name: one.at(1)[11:13].mean() - one.at(1)[:4].mean() for name, one in (("gold", with_gold), ("not", without))
    }
    path = 10 * 10.0 * 2 * interaction_constant(300)
    expected = np.exp(-path * gold_absorption(300, aperture_end(config)))
    share = np.exp(-path * 0.1 * GOLD_DENSITY * 3.32)
    assert lost["gold"] - lost["not"] == pytest.approx(share - expected, rel=0.15)


def test_rows_without_gold_see_none_and_no_gold_changes_nothing():
    _, with_gold = contrasts(True)
    _, without = contrasts(False)
    assert np.allclose(with_gold.at(0)[:4], without.at(0)[:4], atol=1e-5)
    _, none = contrasts(True, depth=0)
    _, empty = contrasts(False, depth=0)
    assert np.array_equal(none.at(2), empty.at(2))
