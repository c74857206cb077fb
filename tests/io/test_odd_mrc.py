"""Every odd file of the collection is opened as it should be, or refused with one clear line."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import describe, read_mrc, read_tomogram

# shape (z, y, x), type, voxel size: or the reason for refusing
EXPECTED: dict[str, tuple[tuple[int, int, int], str, float] | str] = {
    "EMD-3001.map": "differs between axes",
    "EMD-3001.map.bz2": "differs between axes",
    "emd_3001.map.gz": "differs between axes",
    "EMD-3197.map": ((20, 20, 20), "float32", 11.4),
    "EMD-3197.map.bz2": ((20, 20, 20), "float32", 11.4),
    "emd_3197.map.gz": ((20, 20, 20), "float32", 11.4),
    "TS_001.st": "pass --voxel-size",
    "big_head.mrc.gz": ((100, 100, 100), "int16", 16.84),
    "crop512_epu2.9_example.mrc": "one image of 512 x 512 pixels",
    "crop512_fei-extended.mrc": "one image of 512 x 512 pixels",
    "em_map.map": ((20, 14, 19), "float32", 5.28),
    "emd_3197.png": "is a PNG image",
    "emd_3197.png.gz": "is a PNG image",
    "h2o-elf-nstart-origin.mrc.gz": ((40, 40, 40), "float32", 0.15),
    "h2o-elf-nstart-skwtrn.ccp4.gz": ((40, 40, 40), "float32", 0.15),
    "h2o-elf-nstart.ccp4.gz": ((40, 40, 40), "float32", 0.15),
    "header_only.mrc": "holds a header only",
    "mrcfile_README.txt": "not an MRC file",
    "new-head_int16.mrc": ((20, 30, 40), "int16", 4.0),
    "semantic_mask.mrc": "pass --voxel-size",
    "swapped_byte_order.mrc": "one image of 10 x 2 pixels",
    "test_unfixable_mask.map.gz": ((46, 46, 46), "float32", 4.6),
    "truncated_epu2.9_example.mrc": "one image of 4096 x 4096 pixels",
    "truncated_fei-extended.mrc": "one image of 3710 x 3838 pixels",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_odd_file_is_opened_or_refused(shared_data: Path, name: str) -> None:
    path = shared_data / "oddmrc" / name
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as refusal:
            read_tomogram(path)
        assert "\n" not in str(refusal.value)
        assert name in str(refusal.value)
        return
    tomogram = read_tomogram(path)
    assert (tomogram.shape, str(tomogram.data.dtype), tomogram.voxel_size) == expected
    assert tomogram.data.dtype.isnative


def test_no_odd_file_is_forgotten(shared_data: Path) -> None:
    assert {path.name for path in (shared_data / "oddmrc").iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", ["crop512_epu2.9_example.mrc", "crop512_fei-extended.mrc", "new-head_int16.mrc"])
def test_data_behind_extended_headers_equal_mrcfiles(shared_data: Path, name: str) -> None:
    data, _ = read_mrc(shared_data / "oddmrc" / name)
    with mrcfile.open(shared_data / "oddmrc" / name) as mrc:
        np.testing.assert_array_equal(np.squeeze(data), mrc.data)


def test_big_endian_data_equal_mrcfiles(shared_data: Path) -> None:
    path = shared_data / "oddmrc" / "swapped_byte_order.mrc"
    data, header = read_mrc(path)
    assert header.dtype == ">f4"
    assert data.dtype.isnative
    with pytest.warns(RuntimeWarning), mrcfile.open(path, permissive=True) as mrc:
        np.testing.assert_array_equal(data[0], mrc.data)


@pytest.mark.parametrize("name", ["truncated_epu2.9_example.mrc", "truncated_fei-extended.mrc"])
def test_truncated_images_are_refused_as_such(shared_data: Path, name: str) -> None:
    with pytest.raises(InputError, match="cut short"):
        read_mrc(shared_data / "oddmrc" / name)


def test_permuted_axes_equal_mrcfiles_after_turning(shared_data: Path) -> None:
    path = shared_data / "oddmrc" / "h2o-elf-nstart.ccp4.gz"  # columns y, rows x, sections z
    with pytest.warns(RuntimeWarning), mrcfile.open(path, permissive=True) as mrc:
        np.testing.assert_array_equal(read_tomogram(path).data, mrc.data.transpose(0, 2, 1))


def test_old_imod_bytes_are_unsigned(shared_data: Path) -> None:
    data = read_tomogram(shared_data / "tomograms" / "tardis_rec3D.rec").data
    assert (data.min(), data.max()) == (141, 163)  # as its header says


def test_the_real_tomograms_open_as_memory_maps(shared_data: Path) -> None:
    whole = read_tomogram(shared_data / "tomograms" / "emp10499" / "00254_20A_full.mrc")
    assert isinstance(whole.data, np.memmap)
    assert (whole.shape, whole.voxel_size, str(whole.data.dtype)) == ((120, 315, 326), 20.0, "int8")
    with pytest.raises(InputError, match="a tilt series is no tomogram"):
        read_tomogram(shared_data / "tomograms" / "emp10499" / "00254_stack_f16.mrc")


@pytest.mark.parametrize("name", EXPECTED)
def test_odd_file_is_described_or_refused(shared_data: Path, name: str) -> None:
    path = shared_data / "oddmrc" / name
    if "PNG" in str(EXPECTED[name]):
        with pytest.raises(InputError, match="is a PNG image"):
            describe(path)
        return
    described = describe(path)
    assert described["kind"] == ("table" if path.suffix == ".txt" else described["kind"])
    assert ("damaged" in described) == ("truncated" in name or "header_only" in name)
