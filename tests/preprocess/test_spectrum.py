"""Flattening: any colour of noise becomes one spectrum, tile by tile and without seams, and nothing moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.preprocess import spectrum
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import InputRecord, prepare
from cryoembed.preprocess.spectrum import (
    HIGHEST,
    LIMIT,
    SHELLS,
    flatten_into,
    flattening,
    frequency,
    hermitian_weight,
    measured_power,
    power_by_shell,
    variance,
)
from cryoembed.tomogram import Tomogram

SHAPE = (48, 64, 80)
FREQUENCY = np.linspace(0, HIGHEST, SHELLS)
FALL_OFF = np.exp(-((FREQUENCY / 0.25) ** 2))  # what is left of a flat power spectrum
STRONG = slice(2, 12)  # shells that the Gaussian leaves more than a few percent of


def coloured(slope: float, ramp: float, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Noise of s.d. 1 with amplitude ``frequency ** ramp * exp(-slope * frequency)``."""
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    amplitude = np.maximum(frequency(shape), 1 / 64) ** ramp * np.exp(-slope * frequency(shape))
    volume = fft.irfftn(fft.rfftn(noise) * amplitude, s=shape)
    return np.asarray((volume - volume.mean()) / volume.std(), dtype=np.float32)


def flat(volume: np.ndarray) -> np.ndarray:
    out = np.empty_like(volume)
    flatten_into(out, volume, measured_power(volume))
    return out


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 2.5), st.floats(-0.3, 0.3))
def test_any_colour_becomes_one_spectrum_of_deviation_one(slope: float, ramp: float) -> None:
    volume = flat(coloured(slope, ramp))
    assert volume.std() == pytest.approx(1, abs=0.06)
    shape = measured_power(volume)[STRONG] / FALL_OFF[STRONG]
    np.testing.assert_allclose(shape / shape.mean(), 1, atol=0.2)


def test_shells_of_hardly_any_power_stay_weak() -> None:
    volume = coloured(0, 0)
    spectrum_ = fft.rfftn(volume)
    spectrum_[frequency(SHAPE) > 0.2] *= 1e-4
    power = measured_power(flat(fft.irfftn(spectrum_, s=SHAPE).astype(np.float32)))
    beyond = FREQUENCY > 0.25
    assert power[beyond].max() < 1e-3 * power[STRONG].max()


@pytest.mark.parametrize("shape", [(32, 32, 32), (20, 33, 50)])
def test_power_by_shell_is_the_mean_of_white_noise_and_its_mean_is_the_variance(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).normal(scale=3, size=(4, *shape)).astype(np.float32)
    power = np.abs(fft.rfftn(noise, axes=(1, 2, 3))) ** 2 / np.prod(shape)
    shells = power_by_shell(power, shape)
    assert shells.shape == (4, SHELLS)
    np.testing.assert_allclose(variance(shells, shape), np.square(noise).mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(shells.mean(axis=0)[4:18], 9, rtol=0.15)
    assert hermitian_weight(shape).sum() == np.prod(shape)


def test_the_filter_gives_the_expected_deviation() -> None:
    power = np.stack([np.exp(-FREQUENCY * slope) for slope in (0, 5, 12)])
    grid = flattening(power, (36, 36, 36))
    assert grid.dtype == np.float32
    assert grid.shape == (3, 36, 36, 19)
    shells = power_by_shell(grid**2, (36, 36, 36)) * power
    np.testing.assert_allclose(variance(shells, (36, 36, 36)), 1, rtol=0.03)


@pytest.mark.parametrize("thickness", [8, 16, 32, 48])
def test_a_specimen_between_emptier_layers_comes_out_with_deviation_one(thickness: int) -> None:
    """However the blocks that power is measured in happen to lie."""
    layer = 0.05 * coloured(0, 0, seed=5, shape=(thickness, 64, 80))
    volume = np.concatenate([layer, coloured(3, 0.2, shape=(60, 64, 80)), layer])
    assert flat(volume / volume.std()).std() == pytest.approx(1, abs=0.06)


def test_drifts_are_weakened_with_the_lowest_shell() -> None:
    """They do not keep the strength that the mean of a block has."""
    power = np.exp(-20 * FREQUENCY)
    grid = flattening(power, (64, 64, 64))
    assert grid[0, 0, 0] == pytest.approx(grid[0, 0, 2], rel=0.05)
    power[0] *= 100
    np.testing.assert_array_equal(flattening(power, (64, 64, 64)), grid)


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = coloured(3, 0.5)
    whole = flat(volume)
    monkeypatch.setattr(spectrum, "_TILE", 16)
    np.testing.assert_allclose(flat(volume), whole, atol=2e-5)


@pytest.mark.parametrize("at", [(0, 0, 0), (24, 31, 32), (15, 16, 63), (47, 63, 79)])
def test_a_planted_voxel_stays_where_it_is_and_spreads_evenly(
    at: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectrum, "_TILE", 16)
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[at] = 1
    out = np.empty_like(volume)
    flatten_into(out, volume, np.exp(-4 * FREQUENCY))
    assert np.unravel_index(out.argmax(), SHAPE) == at
    far = np.linalg.norm(np.indices(SHAPE) - np.reshape(at, (3, 1, 1, 1)), axis=0) > 26.5  # the filter's corner
    assert not np.abs(out[far]).max() > 1e-5, "nothing comes in at the opposite face"
    if at == (24, 31, 32):
        around = out[24 - 15 : 24 + 16, 31 - 15 : 31 + 16, 32 - 15 : 32 + 16]
        for axis in range(3):
            np.testing.assert_allclose(around, np.flip(around, axis), atol=1e-6)


def test_a_prepared_tomogram_is_flattened_in_memory_as_on_disk_and_its_spectrum_is_recorded(tmp_path: Path) -> None:
    tomogram = Tomogram(-20 * coloured(4, 0.3) + 7, 10.0, "t", (5.0, 0.0, -3.0))
    config = InputConfig(flatten=True)
    here, there = (prepare(tomogram, config, contrast="dark", scratch=scratch) for scratch in (None, tmp_path / "s"))
    np.testing.assert_array_equal(here.tomogram.data, there.tomogram.data)
    assert here.record == there.record == InputRecord.model_validate_json(here.record.model_dump_json())
    plain = prepare(tomogram, InputConfig(), contrast="dark")
    assert here.record.power == pytest.approx(measured_power(plain.tomogram.data))
    assert [file.name.rpartition("_flattened")[1] for file in (tmp_path / "s").iterdir()] == ["_flattened"]
    assert plain.record.power is None
    assert here.tomogram.origin == tomogram.origin
    assert np.abs(here.tomogram.data).max() <= LIMIT
    assert np.corrcoef(here.tomogram.data.ravel(), plain.tomogram.data.ravel())[0, 1] > 0.3  # bright stays bright


@pytest.mark.parametrize("shape", [(8, 40, 9), (8, 8, 8)])
def test_a_volume_of_eight_slices_is_flattened_too(shape: tuple[int, int, int]) -> None:
    data = prepare(Tomogram(coloured(2, 0, shape=shape), 10.0, "t"), InputConfig(flatten=True)).tomogram.data
    assert np.isfinite(data).all()
    assert 0.5 < data.std() < 1.5


def test_shells_without_a_frequency_lie_between_their_neighbours() -> None:
    power = np.exp(-3 * frequency((8, 8, 8))[None])
    shells = power_by_shell(power, (8, 8, 8))[0]
    assert (np.diff(shells) < 0).all()


def test_a_volume_that_is_empty_wherever_power_is_measured_is_refused() -> None:
    volume = np.zeros((8, 8, 2000), dtype=np.float32)
    volume[:, :, 100:300:2] = 1  # between two blocks, and its mean taken off again
    volume[:, :, 101:300:2] = -1
    with pytest.raises(InputError, match="no spectrum to flatten"):
        prepare(Tomogram(volume, 10.0, "t"), InputConfig(flatten=True), contrast="bright")


def test_a_flattened_input_is_scaled_to_deviation_one() -> None:
    with pytest.raises(ValueError, match="scale must be zscore"):
        InputConfig(flatten=True, scale="unit")
