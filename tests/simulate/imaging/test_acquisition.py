"""Settings: old files still parse, wrong ones are refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig


def test_tilts_are_symmetric_or_as_listed():
    assert np.array_equal(ImagingConfig(tilt_max_deg=6, tilt_step_deg=4).planned_tilts_deg(), [-4, 0, 4])
    assert np.array_equal(ImagingConfig(tilts_deg=(10, -20, 0)).planned_tilts_deg(), [-20, 0, 10])


def test_one_number_stands_for_a_range():
    config = parse_config(ImagingConfig, {"dose": 120.0, "mean_free_path": 0, "defocus_um": [2.0, 4.0]})
    assert config.dose == (120.0, 120.0)
    assert config.mean_free_path == (0.0, 0.0)
    assert ImagingConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"snr_particle": (0.1, 0.2), "snr_volume": (0.1, 0.2)}, "set the other to null"),
        ({"defocus_um": (5.0, 2.0)}, "backwards"),
        ({"snr_particle": (0.0, 0.2)}, "positive"),
        ({"beam_damage_snr": (-1.0, 0.2)}, "positive"),
        ({"beam_damage_pixel": 5.0}, "needs beam_damage_snr"),
        ({"dose": -5.0}, "negative"),
        ({"dose": 0.0}, "damage: false"),
        ({"dose": 1e12}, "at most"),
        ({"dose": float("nan")}, "finite"),
        ({"mean_free_path": (0.0, 3000.0)}, "above 0"),
        ({"snr_volume": (0.1, 0.2), "poisson": False}, "poisson: true"),
        ({"model": "multislice", "ctf": False}, "ctf: true"),
        ({"spectrum_pixel": 10.0}, "spectrum_file"),
        ({"snr_volume": 0.1, "spectrum_file": "a.mrc"}, "set one to null"),
        ({"snr_particle": 0.1, "spectrum_file": "a.mrc"}, "set one to null"),
        ({"spectrum_tilts": "a.tlt"}, "spectrum_tilts needs spectrum_file"),
        ({"tilt_max_deg": 20.0, "tilt_step_deg": 30.0}, "lower tilt_step_deg"),
        ({"tilts_deg": (0, 1, 2), "tilt_file": "a.tlt"}, "not both"),
        ({"tilts_deg": (0, 1)}, "at least 3"),
        ({"tilts_deg": (0, 1, 1)}, "different"),
        ({"tilts_deg": (0, 1, 100)}, "-90 and 90"),
        ({"oversampling": 0.5}, "oversampling"),
        ({"detector_pixel": 0.0}, "detector_pixel"),
        ({"missing_tilts": 1.0}, "missing_tilts"),
        ({"noise_exponent": (0.3, 0.9)}, "unknown key"),
    ],
)
def test_wrong_settings_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        parse_config(ImagingConfig, values)


def test_refusals_are_validation_errors_for_programmers():
    with pytest.raises(ValidationError, match="backwards"):
        ImagingConfig(shift_sd=(10.0, 3.0))
