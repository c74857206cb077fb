from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.preprocess.resample import resample, resampled_shape, same_voxel_size

SHAPE = (40, 48, 56)
CENTRE = np.array([17.3, 25.1, 30.6])  # voxels


def blob(shape: tuple[int, ...], centre_vox: np.ndarray, sigma_vox: float = 4.0) -> np.ndarray:
    grid = np.indices(shape, dtype=np.float64) - np.reshape(centre_vox, (3, 1, 1, 1))
    return np.exp(-(grid**2).sum(axis=0) / (2 * sigma_vox**2)).astype(np.float32)


def centroid(volume: np.ndarray) -> np.ndarray:
    grid = np.indices(volume.shape, dtype=np.float64)
    return (grid * volume).sum(axis=(1, 2, 3)) / volume.sum(dtype=np.float64)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0, 1.25, 1.37, 2.0])
def test_planted_blob_returns_at_its_position_in_angstrom(ratio: float) -> None:
    coarse = resample(blob(SHAPE, CENTRE), 10.0, 10.0 * ratio)
    found = centroid(coarse) * ratio
    assert np.abs(found - CENTRE).max() < 0.05


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.25, 2.0])
def test_smooth_structure_keeps_its_values(ratio: float) -> None:
    coarse = resample(blob(SHAPE, CENTRE, 5.0), 10.0, 10.0 * ratio)
    expected = blob(coarse.shape, CENTRE / ratio, 5.0 / ratio)
    inner = tuple(slice(4, -4) for _ in range(3))
    assert np.abs(coarse - expected)[inner].max() < 0.01


@given(
    ratio=st.floats(0.3, 4.0), value=st.floats(-1000, 1000), shape=st.tuples(*[st.integers(8, 24) for _ in range(3)])
)
@settings(max_examples=25, deadline=None)
def test_constant_stays_constant_up_to_every_border(ratio: float, value: float, shape: tuple[int, int, int]) -> None:
    out = resample(np.full(shape, value, dtype=np.float32), 10.0, 10.0 * ratio)
    assert out.dtype == np.float32
    assert out.shape == resampled_shape(shape, 10.0, 10.0 * ratio)
    np.testing.assert_allclose(out, np.float32(value), atol=1e-5 * max(1.0, abs(value)))


def wave(cycles_per_voxel: float, length: int = 200) -> np.ndarray:
    line = np.cos(2 * np.pi * cycles_per_voxel * np.arange(length)).astype(np.float32)
    return np.broadcast_to(line, (8, 8, length))


def test_waves_below_the_new_nyquist_frequency_are_kept_exactly() -> None:
    out = resample(wave(0.14), 10.0, 20.0)
    np.testing.assert_allclose(out[2, 2, 15:-15], wave(0.28, 100)[0, 0, 15:-15], atol=2e-3)


def test_waves_beyond_the_new_nyquist_frequency_do_not_alias() -> None:
    assert np.abs(resample(wave(0.3), 10.0, 20.0)[..., 15:-15]).max() < 1e-3


def test_an_edge_at_one_border_does_not_ring_at_the_opposite_one() -> None:
    volume = np.zeros((8, 8, 100), dtype=np.float32)
    volume[..., :5] = 1.0
    assert np.abs(resample(volume, 10.0, 15.0)[..., 40:]).max() < 1e-4


def test_integers_and_memory_maps_are_read(tmp_path) -> None:
    volume = np.round(100 * blob(SHAPE, CENTRE)).astype(np.int8)
    np.save(tmp_path / "volume.npy", volume)
    mapped = np.load(tmp_path / "volume.npy", mmap_mode="r")
    np.testing.assert_array_equal(resample(mapped, 10, 20), resample(volume.astype(np.float32), 10, 20))


def test_upsampling_then_downsampling_gives_the_volume_back() -> None:
    volume = blob(SHAPE, CENTRE)
    np.testing.assert_allclose(resample(resample(volume, 10, 5), 5, 10), volume, atol=5e-3)


def test_two_percent_is_the_same_voxel_size() -> None:
    assert same_voxel_size(10.19, 10.0)
    assert not same_voxel_size(10.3, 10.0)
