"""Tomograms in MRC files: read by memory map, written whole or as a memory map to be filled slab by slab."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc_header import MrcHeader, isotropic_voxel_size, parse_header
from cryoembed.io.scratch import reserve
from cryoembed.io.sniff import HEAD_BYTES, VOLUME_SUFFIXES, compression, read_bytes, tomogram_name
from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)
_SLAB_VOXELS = 1 << 24
_EXACT_IN_FLOAT32 = 1 << 24
# MRC knows int8, int16, float32, uint16, float16; the first that holds the values is taken for other integers
_INTEGERS = (np.int8, np.int16, np.uint16)


def read_tomogram(
    path: Path | str, *, voxel_size: float | None = None, name: str | None = None, origin: Triple = ORIGIN
) -> Tomogram:
    """Read a tomogram (.mrc .rec .map .st .ccp4, plain or .gz / .bz2) without loading it.

    Parameters
    ----------
    path
        The file. Plain little-endian files are memory-mapped; big-endian and compressed ones are read into memory.
    voxel_size
        A; overrides the header (which must otherwise hold one positive size for all axes).
    name
        What picks call it; default: the file's name without its volume suffixes.
    origin
        A, zyx: where the centre of voxel 0 lies in the parent frame. The header's origin and nstart are not used.

    Returns
    -------
    Tomogram
        (z, y, x) data in the file's number type, native byte order, read-only.

    Raises
    ------
    InputError
        If the file is no MRC file, is cut short, is one image, or its voxel size is zero or anisotropic.
    """
    path = Path(path)
    header = read_mrc_header(path)
    if header.is_image:
        columns, rows, _ = header.size_crs
        raise InputError(f"{path} is one image of {columns} x {rows} pixels; expected a volume (z, y, x)")
    size = isotropic_voxel_size(header, path) if voxel_size is None else voxel_size
    return Tomogram(_read_data(path, header), float(size), name or tomogram_name(path), origin)


def read_mrc_header(path: Path) -> MrcHeader:
    """Parse the header of a (compressed) MRC file; `InputError` if it is something else."""
    return parse_header(read_bytes(Path(path), HEAD_BYTES), Path(path))


def read_mrc(path: Path | str) -> tuple[npt.NDArray[Any], MrcHeader]:
    """(z, y, x) data of any MRC file, images and zero voxel sizes included, with its header."""
    path = Path(path)
    header = read_mrc_header(path)
    return _read_data(path, header), header


def write_mrc(path: Path | str, data: npt.NDArray[Any], voxel_size: float, *, origin: Triple = ORIGIN) -> None:
    """Write a volume as MRC2014, atomically and slab by slab (a memory map is never loaded whole).

    Parameters
    ----------
    path
        Target with a volume suffix (.mrc .rec .map .st .ccp4).
    data
        (z, y, x). float32, float16, int8, int16 and uint16 are kept; float64 becomes float32; bool, uint8 and wider
        integers (instance labels) become the first of int8, int16, uint16, float32 that holds every value exactly.
    voxel_size
        A, all axes.
    origin
        A, zyx; written into the header's origin field.

    Raises
    ------
    InputError
        If the folder cannot be written, the values fit no MRC type, or the data is not a 3D real volume.
    """
    data = np.asanyarray(data)
    dtype = _storage_dtype(data, Path(path))
    with create_mrc(path, data.shape, dtype, voxel_size, origin=origin) as target:
        for rows in _slabs(data.shape):
            target[rows] = data[rows]


@contextmanager
def create_mrc(
    path: Path | str,
    shape_zyx: tuple[int, ...],
    dtype: npt.DTypeLike,
    voxel_size: float,
    *,
    origin: Triple = ORIGIN,
) -> Iterator[npt.NDArray[Any]]:
    """Yield a writable memory map of a new MRC file; the file appears under its name when the block ends well.

    ``dtype`` is one of float32, float16, int8, int16, uint16. Disk space is reserved first, so that a full disk is an
    `InputError` here and no bus error while writing. Header statistics are filled in at the end.
    """
    import mrcfile  # only writers need it

    path = Path(path)
    if path.suffix.lower() not in VOLUME_SUFFIXES:
        raise InputError(f"cannot write a volume as {path.name}; use one of {' '.join(VOLUME_SUFFIXES)}")
    if len(shape_zyx) != 3 or 0 in shape_zyx:
        raise InputError(f"cannot write {path}: expected a 3D volume (z, y, x), got shape {tuple(shape_zyx)}")
    mode = mrcfile.utils.mode_from_dtype(np.dtype(dtype))
    with replacing(path) as temporary, mrcfile.new_mmap(temporary, shape_zyx, mrc_mode=mode) as mrc:
        reserve(temporary)
        mrc.voxel_size = voxel_size
        mrc.header.origin.z, mrc.header.origin.y, mrc.header.origin.x = origin
        mrc.header.label[0] = b"cryoembed"  # mrcfile puts the date there; the same run must leave the same bytes
        yield mrc.data
        _fill_statistics(mrc.header, mrc.data)


def _read_data(path: Path, header: MrcHeader) -> npt.NDArray[Any]:
    shape = header.size_crs[::-1]
    if compression(path):
        content = read_bytes(path)
        _check_length(path, header, len(content))
        count = int(np.prod(shape))
        data: npt.NDArray[Any] = np.frombuffer(content, header.dtype, count, header.data_offset).reshape(shape)
    else:
        _check_length(path, header, path.stat().st_size)
        data = np.memmap(path, header.dtype, mode="r", offset=header.data_offset, shape=shape)
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    if header.axes_crs == (1, 2, 3):
        return data
    log.info("%s stores its axes in the order %s; turned into z, y, x", path, _axis_names(header))
    in_file = header.axes_crs[::-1]
    return data.transpose([in_file.index(axis) for axis in (3, 2, 1)])


def _check_length(path: Path, header: MrcHeader, length: int) -> None:
    expected = header.data_offset + header.data_bytes
    if length >= expected:
        return
    what = "holds a header only" if length <= header.data_offset else "is cut short"
    raise InputError(
        f"{path} {what}: {length} of {expected} bytes for {'x'.join(map(str, header.shape_zyx))} voxels (z, y, x) of "
        f"{header.dtype[1:]}; copy or reconstruct it again"
    )


def _axis_names(header: MrcHeader) -> str:
    return ", ".join("?xyz"[axis] for axis in header.axes_crs[::-1])


def _storage_dtype(data: npt.NDArray[Any], path: Path) -> np.dtype[Any]:
    if data.dtype in (np.float32, np.float16, np.int8, np.int16, np.uint16):
        return data.dtype.newbyteorder("=")
    if data.dtype.kind == "f":
        return np.dtype(np.float32)
    if data.dtype.kind not in "iub":
        raise InputError(f"cannot write {path}: {data.dtype} values have no MRC type; expected real numbers")
    parts = [data[rows] for rows in _slabs(data.shape)] if data.size else []
    low, high = min((int(part.min()) for part in parts), default=0), max((int(part.max()) for part in parts), default=0)
    for dtype in _INTEGERS:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    if max(-low, high) <= _EXACT_IN_FLOAT32:
        return np.dtype(np.float32)
    raise InputError(f"cannot write {path}: label {max(-low, high)} is too large to be exact in an MRC file")


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    depth = max(1, _SLAB_VOXELS // max(1, int(np.prod(shape[1:]))))
    return (slice(start, start + depth) for start in range(0, shape[0], depth))


def _fill_statistics(header: Any, data: npt.NDArray[Any]) -> None:
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for rows in _slabs(data.shape):
        part = np.asarray(data[rows], dtype=np.float64)
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        total, squares = total + float(part.sum()), squares + float(np.square(part).sum())
    mean = total / data.size
    header.dmin, header.dmax, header.dmean = low, high, mean
    header.rms = np.sqrt(max(squares / data.size - mean**2, 0.0))
