from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import InputRecord, prepare
from cryoembed.tomogram import Tomogram


def noise(shape: tuple[int, int, int] = (24, 32, 40), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5.0, 3.0, size=shape).astype(np.float32)


def test_prepared_volume_has_zero_mean_and_unit_deviation() -> None:
    data = prepare(Tomogram(noise(), 10.0, "t"), InputConfig()).tomogram.data
    assert data.dtype == np.float32
    assert abs(float(data.mean())) < 1e-4
    assert abs(float(data.std()) - 1) < 1e-3


@pytest.mark.parametrize(("contrast", "sign"), [("dark", -1), ("bright", 1)])
def test_particles_come_out_bright_at_their_voxel(contrast: str, sign: int) -> None:
    volume = noise()
    volume[7, 8, 9] = 5 + sign * 100
    data = prepare(Tomogram(volume, 10.0, "t"), InputConfig(), contrast=contrast).tomogram.data  # type: ignore[arg-type]
    assert data[7, 8, 9] == data.max() > 2.5


def test_outliers_are_clipped_at_the_percentiles() -> None:
    volume = noise()
    volume[3, 3, 3] = 1e6
    prepared = prepare(Tomogram(volume, 10.0, "t"), InputConfig(), contrast="bright")
    assert prepared.tomogram.data.max() < 5
    assert prepared.record.clip_high < 20


def test_unit_scale_spans_zero_to_one() -> None:
    data = prepare(Tomogram(noise(), 10.0, "t"), InputConfig(scale="unit")).tomogram.data
    assert (data.min(), data.max()) == (0.0, 1.0)


@pytest.mark.parametrize("voxel_size", [5.0, 8.0, 20.0])
def test_a_planted_particle_keeps_its_position_in_the_parent_frame(voxel_size: float) -> None:
    centre = np.array([13.0, 17.0, 21.0])
    grid = np.indices((28, 36, 44)) - centre.reshape(3, 1, 1, 1)
    volume = noise((28, 36, 44)) * 0.02 - 40 * np.exp(-(grid**2).sum(axis=0) / (2 * 2.5**2))
    tomogram = Tomogram(volume, voxel_size, "t", (700.0, 0.0, -50.0))
    prepared = prepare(tomogram, InputConfig(clip_percentiles=(0, 100)), contrast="dark").tomogram
    assert prepared.voxel_size == 10.0
    bright = np.clip(prepared.data - np.percentile(prepared.data, 90), 0, None).astype(np.float64)
    found = (np.indices(prepared.shape) * bright).sum(axis=(1, 2, 3)) / bright.sum()
    expected = tomogram.to_angstrom(centre[None])
    assert np.abs(prepared.to_angstrom(found[None]) - expected).max() < 0.5 * max(voxel_size, 10)


def test_nearly_equal_voxel_sizes_keep_the_native_grid_and_size() -> None:
    prepared = prepare(Tomogram(noise(), 10.1, "t"), InputConfig())
    assert prepared.tomogram.voxel_size == 10.1
    assert not prepared.record.resampled
    assert prepared.tomogram.shape == (24, 32, 40)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.float16, np.float32, np.float64])
def test_every_number_type_gives_the_same_volume(dtype: type) -> None:
    values = np.round(np.random.default_rng(1).normal(60, 12, size=(20, 20, 20))).clip(0, 120)
    reference = prepare(Tomogram(values, 10.0, "t"), InputConfig(), contrast="dark").tomogram.data
    given = prepare(Tomogram(values.astype(dtype), 10.0, "t"), InputConfig(), contrast="dark").tomogram.data
    np.testing.assert_allclose(given, reference, atol=1e-5)


def test_the_input_is_never_changed() -> None:
    volume = noise()
    volume.flags.writeable = False
    before = volume.copy()
    prepare(Tomogram(volume, 10.0, "t"), InputConfig(), contrast="dark")
    np.testing.assert_array_equal(volume, before)


def test_scratch_gives_the_same_voxels_in_a_memory_map(tmp_path: Path) -> None:
    tomogram = Tomogram(noise(), 8.0, "TS/01 a")
    mapped = prepare(tomogram, InputConfig(), scratch=tmp_path / "scratch").tomogram.data
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, prepare(tomogram, InputConfig()).tomogram.data)


def test_padding_around_the_specimen_does_not_spoil_the_scale() -> None:
    inside = noise((24, 40, 40))
    padded = np.zeros((64, 40, 40), dtype=np.float32)
    padded[20:44] = inside
    prepared = prepare(Tomogram(padded, 10.0, "t"), InputConfig(), contrast="bright")
    assert prepared.record.padding == 0.0
    assert abs(prepared.record.mean - 5.0) < 0.2
    assert np.abs(prepared.tomogram.data[:20]).max() < 0.1


def test_record_survives_json_and_tells_what_was_done() -> None:
    record = prepare(Tomogram(noise(), 8.0, "t"), InputConfig(), contrast="dark").record
    assert InputRecord.model_validate(json.loads(json.dumps(record.model_dump(mode="json")))) == record
    assert (record.native_voxel_size, record.voxel_size, record.resampled) == (8.0, 10.0, True)
    assert record.shape == (19, 26, 32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_wherever_they_are(bad: float) -> None:
    for voxel in ((0, 0, 0), (23, 31, 39), (11, 3, 7)):
        volume = noise()
        volume[voxel] = bad
        with pytest.raises(InputError, match="NaN or infinite"):
            prepare(Tomogram(volume, 10.0, "t"), InputConfig())


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (np.full((16, 16, 16), 7, dtype=np.int16), "every voxel is 7"),
        (np.ones((4, 40, 40), dtype=np.float32) * np.arange(40), "shorter than 8"),
        (np.ones((16, 16, 16), dtype=np.complex64), "no grey values"),
        (np.where(np.arange(16**3).reshape(16, 16, 16) == 77, 1.0, 0.0), "nearly all voxels are alike"),
    ],
)
def test_unusable_volumes_are_refused_with_the_reason(volume: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        prepare(Tomogram(volume, 10.0, "t"), InputConfig())


def test_a_volume_too_thin_at_the_voxel_size_of_the_network_is_refused() -> None:
    with pytest.raises(InputError, match="voxel size right"):
        prepare(Tomogram(noise(), 1.0, "t"), InputConfig())


def test_full_real_tomogram_is_prepared(shared_data: Path) -> None:
    import mrcfile

    with mrcfile.mmap(shared_data / "tomograms/emp10499/00254_20A_full.mrc") as file:
        prepared = prepare(Tomogram(file.data, 20.0, "00254", (5.0, 5.0, 5.0)), InputConfig(voxel_size=20.0))
    assert prepared.record.contrast == "dark"
    assert prepared.tomogram.origin == (5.0, 5.0, 5.0)
    assert abs(float(prepared.tomogram.data.std()) - 1) < 1e-3
