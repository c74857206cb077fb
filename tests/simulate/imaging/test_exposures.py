"""Chance: who is exposed when, what goes missing, and that settings don't disturb each other's draws."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import acquisition_order, draw_exposures

TILTS = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])


def draw(seed=0, tilts=TILTS, **settings):
    return draw_exposures(ImagingConfig(**settings), tilts, 10.0, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("scheme", "angles"),
    [
        ("continuous", [-6, -3, 0, 3, 6]),
        ("bidirectional", [0, 3, 6, -3, -6]),
        ("dose_symmetric", [0, -3, 3, -6, 6]),
    ],
)
def test_each_scheme_takes_its_order(scheme, angles):
    assert np.array_equal(TILTS[acquisition_order(TILTS, scheme)], angles)
    exposures = draw(dose=100, dose_scheme=scheme)
    assert np.allclose(exposures.doses[np.argsort(exposures.doses)], [10, 30, 50, 70, 90])
    assert np.array_equal(exposures.tilts_deg[np.argsort(exposures.doses)], angles)
    assert exposures.dose_per_tilt == pytest.approx(20)


def test_missing_tilts_were_exposed_all_the_same():
    tilts = np.arange(-60.0, 61.0)
    whole, rest = draw(tilts=tilts), draw(tilts=tilts, missing_tilts=0.3)
    assert 60 < len(rest.doses) < 110
    assert np.array_equal(rest.doses, whole.doses[np.isin(tilts, rest.nominal_deg)])
    assert len(rest.misalignment) == len(rest.doses) == len(rest.defocus_um)


def test_three_tilts_are_left_whatever_goes_missing():
    assert np.array_equal(draw(missing_tilts=0.999).nominal_deg, [-3, 0, 3])


def test_one_setting_leaves_the_draws_of_the_others():
    plain = draw()
    other = draw(astigmatism_um=1.0, shift_sd=5.0, snr_volume=(0.1, 0.2), angle_jitter_deg=0.1, dose=(1, 2))
    assert np.array_equal(plain.defocus_um, other.defocus_um)
    assert plain.mean_free_path == other.mean_free_path
    assert not np.array_equal(plain.tilts_deg, other.tilts_deg)
    assert np.array_equal(plain.nominal_deg, other.nominal_deg)


def test_values_lie_in_their_ranges():
    for seed in range(20):
        exposures = draw(seed, snr_volume=(0.1, 0.4), dose=(100, 120), defocus_jitter_um=0.0, shift_sd=(3, 10))
        assert 0.1 <= exposures.snr <= 0.4
        assert 100 <= exposures.dose <= 120
        assert 2 <= exposures.defocus_um[0] <= 5
        assert 3 <= exposures.shift_sd <= 10
        assert 3100 <= exposures.mean_free_path <= 3800


def test_shifts_have_the_spread_that_was_drawn():
    exposures = draw(tilts=np.linspace(-60, 60, 500), shift_sd=8.0)
    assert exposures.misalignment.shifts_px.std() * 10.0 == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("tilts", [[0.0], [0.0, 1.0, 1.0], [0.0, 50.0, 120.0], [0.0, 1.0, np.nan]])
def test_impossible_tilts_are_refused(tilts):
    with pytest.raises(InputError, match="different angles"):
        draw(tilts=np.array(tilts))
