"""Tomograms in MRC files: every type, byte order and compression; the writer against mrcfile."""

import bz2
import gzip
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import create_mrc, read_mrc, read_tomogram, write_mrc

SHAPE = (3, 4, 5)  # unequal, so that a swapped axis shows
TYPES = [np.int8, np.int16, np.uint16, np.float16, np.float32]


def volume(dtype: type = np.float32) -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def oracle(path: Path, data: np.ndarray, voxel_size: float = 10.0) -> Path:
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = voxel_size
    return path


def patched(path: Path, offset: int, layout: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_memory_mapped_and_keeps_its_values(tmp_path: Path, dtype: type) -> None:
    tomogram = read_tomogram(oracle(tmp_path / "TS_01.rec", volume(dtype)))
    assert isinstance(tomogram.data, np.memmap)
    assert tomogram.data.dtype == dtype
    assert (tomogram.voxel_size, tomogram.name) == (10.0, "TS_01")
    np.testing.assert_array_equal(tomogram.data, volume(dtype))


@pytest.mark.parametrize("suffix", [".mrc", ".rec", ".map", ".st", ".ccp4"])
def test_every_suffix_is_read_and_left_out_of_the_name(tmp_path: Path, suffix: str) -> None:
    write_mrc(tmp_path / f"TS.1{suffix}", volume(), 10.0)
    assert read_tomogram(tmp_path / f"TS.1{suffix}").name == "TS.1"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files_are_known_by_their_bytes(tmp_path: Path, suffix: str, pack: object, named: bool) -> None:
    plain = oracle(tmp_path / "a.mrc", volume())
    packed = tmp_path / f"b.mrc{suffix if named else ''}"
    packed.write_bytes(pack(plain.read_bytes()))  # type: ignore[operator]
    tomogram = read_tomogram(packed)
    assert tomogram.name == "b"
    np.testing.assert_array_equal(tomogram.data, volume())


@pytest.mark.parametrize("dtype", TYPES[1:])
@pytest.mark.parametrize("stamp", [b"\x11\x11\x00\x00", b"\x44\x44\x00\x00", b"\x00" * 4])
def test_big_endian_becomes_native_whatever_the_machine_stamp_says(tmp_path: Path, dtype: type, stamp: bytes) -> None:
    path = oracle(tmp_path / "a.mrc", volume(dtype))
    content = bytearray(path.read_bytes())
    words = np.frombuffer(content[:224], "<i4").astype(">i4").tobytes()
    content[:224] = words[:208] + b"MAP " + stamp + words[216:]
    content[1024:] = volume(dtype).astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    path.write_bytes(content)
    tomogram = read_tomogram(path)
    assert tomogram.data.dtype.isnative
    assert tomogram.voxel_size == 10.0
    np.testing.assert_array_equal(tomogram.data, volume(dtype))


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(volume())
        mrc.set_extended_header(np.frombuffer(b"x" * 4096, dtype="V4096"))
        mrc.voxel_size = 10.0
    np.testing.assert_array_equal(read_tomogram(tmp_path / "a.mrc").data, volume())


def test_permuted_axes_are_put_into_zyx(tmp_path: Path) -> None:
    path = oracle(tmp_path / "a.mrc", np.ascontiguousarray(volume().transpose(1, 2, 0)))  # columns run along z
    patched(path, 64, "<3i", 3, 1, 2)  # column z, row x, section y
    np.testing.assert_array_equal(read_tomogram(path, voxel_size=10.0).data, volume())


def test_unsigned_bytes_of_imod_are_not_taken_for_signed(tmp_path: Path) -> None:
    path = oracle(tmp_path / "a.mrc", np.full(SHAPE, -56, np.int8))
    assert read_tomogram(path).data.max() == -56
    patched(path, 152, "<2i", 1146047817, 0)
    assert read_tomogram(path).data.max() == 200


def test_zero_voxel_size_names_the_option(tmp_path: Path) -> None:
    path = oracle(tmp_path / "a.mrc", volume(), 0.0)
    with pytest.raises(InputError, match=r"voxel size 0 x 0 x 0 A .*a\.mrc; pass --voxel-size"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_size=7.5).voxel_size == 7.5


def test_anisotropic_voxels_are_refused_unless_the_user_knows_better(tmp_path: Path) -> None:
    path = patched(oracle(tmp_path / "a.mrc", volume()), 48, "<f", 33.0)  # z: 33 / 3 = 11 A
    with pytest.raises(InputError, match=r"differs between axes.*10 x 10 x 11 A"):
        read_tomogram(path)
    assert read_tomogram(path, voxel_size=10.0).voxel_size == 10.0


def test_rounded_cell_lengths_are_no_anisotropy(tmp_path: Path) -> None:
    path = patched(oracle(tmp_path / "a.mrc", volume(), 23.2), 40, "<3f", 115.99976, 92.8, 69.6)
    assert read_tomogram(path).voxel_size == 23.2


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_a_nonsense_voxel_size_is_refused_from_the_user_too(tmp_path: Path, size: float) -> None:
    path = oracle(tmp_path / "a.mrc", volume())
    with pytest.raises(InputError, match="pass --voxel-size"):
        read_tomogram(path, voxel_size=size)


def test_truncated_file_says_how_much_is_missing(tmp_path: Path) -> None:
    path = oracle(tmp_path / "a.mrc", volume())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is cut short: 1263 of 1264 bytes"):
        read_tomogram(path)


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    packed = gzip.compress(oracle(tmp_path / "a.mrc", noise).read_bytes())
    (tmp_path / "b.mrc.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_tomogram(tmp_path / "b.mrc.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "an MRC header alone has 1024"),
        (b"hello world. " * 200, "no valid MRC header"),
        (b"\x80\x04" + b"\x00" * 2000, "is a Python pickle"),
        (b"PK\x03\x04" + b"\x00" * 2000, "torch checkpoints"),
        (b"\x00" * 2048, "no valid MRC header"),
    ],
)
def test_what_is_no_mrc_is_refused_with_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_tomogram(path)


@pytest.mark.parametrize(("mode", "what"), [(3, "complex"), (4, "complex"), (16, "RGB"), (101, "4-bit")])
def test_types_without_real_values_are_refused(tmp_path: Path, mode: int, what: str) -> None:
    path = patched(oracle(tmp_path / "a.mrc", volume()), 12, "<i", mode)
    with pytest.raises(InputError, match=what):
        read_tomogram(path)


def test_an_image_is_no_tomogram_but_can_be_read(tmp_path: Path) -> None:
    path = oracle(tmp_path / "a.mrc", volume()[0])
    with pytest.raises(InputError, match="one image of 5 x 4 pixels"):
        read_tomogram(path)
    data, header = read_mrc(path)
    assert data.shape == (1, 4, 5)
    assert header.is_image


def test_a_stack_of_volumes_is_refused(tmp_path: Path) -> None:
    path = patched(oracle(tmp_path / "a.mrc", volume()), 88, "<i", 401)
    with pytest.raises(InputError, match="stack of volumes"):
        read_tomogram(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_tomogram(tmp_path / "none.mrc")
    with pytest.raises(InputError, match="is a folder"):
        read_tomogram(tmp_path)


@pytest.mark.parametrize("dtype", [*TYPES, np.float64])
def test_written_files_are_valid_and_read_back_by_mrcfile(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "new" / "a.mrc"
    write_mrc(path, volume(dtype), 13.48, origin=(1.0, 2.0, 3.0))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, volume(dtype))
        assert mrc.is_volume()
        np.testing.assert_allclose(mrc.voxel_size.item(), 13.48, rtol=1e-6)
        assert mrc.header.origin.item() == (3.0, 2.0, 1.0)
        np.testing.assert_allclose([mrc.header.dmin, mrc.header.dmax, mrc.header.dmean], [0, 59, 29.5])
        np.testing.assert_allclose(mrc.header.rms, volume().std(), rtol=1e-6)
    assert read_tomogram(path).voxel_size == 13.48
    assert [entry.name for entry in path.parent.iterdir()] == ["a.mrc"]


@pytest.mark.parametrize(
    ("largest", "stored"), [(1, np.int8), (127, np.int8), (128, np.int16), (40000, np.uint16), (70000, np.float32)]
)
def test_labels_take_the_first_type_that_holds_them_exactly(tmp_path: Path, largest: int, stored: type) -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0, 0] = largest
    write_mrc(tmp_path / "a.mrc", labels, 10.0)
    data = read_tomogram(tmp_path / "a.mrc").data
    assert data.dtype == stored
    np.testing.assert_array_equal(data, labels)


def test_labels_too_large_to_be_exact_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too large to be exact"):
        write_mrc(tmp_path / "a.mrc", np.full(SHAPE, (1 << 24) + 1), 10.0)
    assert not list(tmp_path.iterdir())


def test_masks_and_unsigned_bytes_are_written(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume() > 30, 10.0)
    np.testing.assert_array_equal(read_tomogram(tmp_path / "a.mrc").data, volume() > 30)
    write_mrc(tmp_path / "b.mrc", np.full(SHAPE, 255, np.uint8), 10.0)
    assert read_tomogram(tmp_path / "b.mrc").data.max() == 255


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (np.zeros((2, 2)), "a.mrc", "expected a 3D volume"),
        (np.zeros((0, 2, 2)), "a.mrc", "expected a 3D volume"),
        (np.zeros(SHAPE, complex), "a.mrc", "no MRC type"),
        (np.zeros(SHAPE), "a.mrc.gz", "use one of .mrc"),
        (np.zeros(SHAPE), "a.png", "use one of .mrc"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path: Path, data: np.ndarray, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_mrc(tmp_path / name, data, 10.0)
    assert not list(tmp_path.iterdir())


def test_a_volume_can_be_filled_slab_by_slab(tmp_path: Path) -> None:
    with create_mrc(tmp_path / "a.mrc", SHAPE, np.float32, 10.0) as data:
        for z in range(SHAPE[0]):
            data[z] = volume()[z]
        assert not (tmp_path / "a.mrc").exists()
    np.testing.assert_array_equal(read_tomogram(tmp_path / "a.mrc").data, volume())


def test_a_run_killed_while_filling_leaves_the_old_file(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume(), 10.0)

    def interrupted() -> None:
        with create_mrc(tmp_path / "a.mrc", SHAPE, np.float32, 10.0) as data:
            data[0] = 99
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    np.testing.assert_array_equal(read_tomogram(tmp_path / "a.mrc").data, volume())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc"]


def test_the_same_volume_leaves_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mrc", "b.mrc"):
        write_mrc(tmp_path / name, volume(), 10.0)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()
