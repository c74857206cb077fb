"""The 1024 bytes at the start of an MRC file, in either byte order, without numpy.

Reading and ``cryoembed info`` share this parser. (mrcfile in permissive mode goes on with a warning where we must
refuse, and reads unsigned bytes as signed; mrcfile writes our files and is the oracle in the tests.)
Field offsets: Cheng et al. 2015, MRC2014; IMOD's signed-byte flag: IMOD's mrc_format page.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.sniff import foreign_kind

HEADER_BYTES = 1024
ISOTROPY_TOLERANCE = 1e-3  # relative: rounding of cell lengths, no more
_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED = {3: "complex int16", 4: "complex float32 (a Fourier transform)", 16: "RGB", 101: "packed 4-bit"}
_IMOD_STAMP = 1146047817
_LARGEST_AXIS = 1 << 20


@dataclass(frozen=True)
class MrcHeader:
    """What an MRC header says; sizes and starts in the order of the file (column, row, section), lengths in xyz."""

    size_crs: tuple[int, int, int]
    dtype: str  # numpy's string, byte order included: "<f4"
    axes_crs: tuple[int, int, int]  # which axis (1 x, 2 y, 3 z) columns, rows and sections run along
    cell_xyz: tuple[float, float, float]
    grid_xyz: tuple[int, int, int]
    start_crs: tuple[int, int, int]
    origin_xyz: tuple[float, float, float]
    space_group: int
    extended_bytes: int
    extended_type: str
    labels: tuple[str, ...]

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Size in voxels after the axes are put into zyx order."""
        by_axis = dict(zip(self.axes_crs, self.size_crs, strict=True))
        return (by_axis[3], by_axis[2], by_axis[1])

    @property
    def voxel_size_zyx(self) -> tuple[float, float, float]:
        """A per axis; 0 where the header does not say."""
        x, y, z = (c / n if n > 0 else 0.0 for c, n in zip(self.cell_xyz, self.grid_xyz, strict=True))
        return (z, y, x)

    @property
    def data_offset(self) -> int:
        """Where the voxels start in the file."""
        return HEADER_BYTES + self.extended_bytes

    @property
    def data_bytes(self) -> int:
        """How many bytes the voxels take."""
        return math.prod(self.size_crs) * int(self.dtype[-1])

    @property
    def is_image(self) -> bool:
        """One 2D image, not a volume."""
        return self.size_crs[2] == 1

    @property
    def is_volume_stack(self) -> bool:
        """Several volumes in one file (space group 401 and more)."""
        return self.space_group >= 401


def parse_header(head: bytes, path: Path) -> MrcHeader:
    """Parse the first bytes of an MRC file; raise `InputError` saying what the file is if it is no MRC."""
    if kind := foreign_kind(head):
        raise InputError(f"{path} is {kind}, not an MRC file; convert it to MRC first")
    if len(head) < HEADER_BYTES:
        raise InputError(f"{path} has {len(head)} bytes, an MRC header alone has {HEADER_BYTES}: not an MRC file")
    order = _byte_order(head)
    if order is None:
        raise InputError(
            f"{path} has no valid MRC header (data mode, size or axes make no sense in either byte order): "
            "not an MRC file, or damaged"
        )
    columns, rows, sections, mode, *rest = struct.unpack(f"{order}10i", head[:40])
    if mode in _REFUSED:
        raise InputError(f"{path} holds {_REFUSED[mode]} data (MRC mode {mode}); expected a real-valued volume")
    axes = _axes(head, order)
    extended = struct.unpack(f"{order}i", head[92:96])[0]
    count = min(max(struct.unpack(f"{order}i", head[220:224])[0], 0), 10)
    kind_of_bytes = "u1" if mode == 0 and _unsigned_bytes(head, order) else _DTYPES[mode]
    return MrcHeader(
        size_crs=(columns, rows, sections),
        dtype=("|" if kind_of_bytes[-1] == "1" else order) + kind_of_bytes,
        axes_crs=axes if axes != (0, 0, 0) else (1, 2, 3),
        cell_xyz=struct.unpack(f"{order}3f", head[40:52]),
        grid_xyz=(rest[3], rest[4], rest[5]),
        start_crs=(rest[0], rest[1], rest[2]),
        origin_xyz=struct.unpack(f"{order}3f", head[196:208]),
        space_group=struct.unpack(f"{order}i", head[88:92])[0],
        extended_bytes=extended,
        extended_type=head[104:108].decode("latin-1").strip("\x00 ") if extended else "",
        labels=tuple(text for i in range(count) if (text := _printable(head[224 + 80 * i : 304 + 80 * i]))),
    )


def isotropic_voxel_size(header: MrcHeader, path: Path) -> float:
    """The header's voxel size in A; `InputError` if it is zero, or differs between the axes."""
    z, y, x = header.voxel_size_zyx
    if header.is_volume_stack:
        raise InputError(f"{path} is a stack of volumes (space group {header.space_group}); expected one volume")
    if not all(math.isfinite(value) and value > 0 for value in (z, y, x)):
        raise InputError(f"voxel size {x:g} x {y:g} x {z:g} A (x, y, z) in header of {path}; pass --voxel-size")
    if max(x, y, z) / min(x, y, z) - 1 > ISOTROPY_TOLERANCE:
        raise InputError(
            f"voxel size differs between axes in header of {path}: {x:.4g} x {y:.4g} x {z:.4g} A (x, y, z); "
            "expected one size: resample it (a tilt series is no tomogram), or pass --voxel-size if the header is wrong"
        )
    return float(f"{x:.6g}")  # float32 noise off: 13.48, not 13.479999542


def _byte_order(head: bytes) -> str | None:
    """The order in which the header makes sense; the machine stamp only breaks ties, for it is often wrong."""
    orders = (">", "<") if head[212] == 0x11 else ("<", ">")
    return next((order for order in orders if _plausible(head, order)), None)


def _plausible(head: bytes, order: str) -> bool:
    *size, mode = struct.unpack(f"{order}4i", head[:16])
    extended = struct.unpack(f"{order}i", head[92:96])[0]
    return (
        (mode in _DTYPES or mode in _REFUSED)
        and all(0 < n <= _LARGEST_AXIS for n in size)
        and (sorted(_axes(head, order)) == [1, 2, 3] or _axes(head, order) == (0, 0, 0))
        and 0 <= extended < 1 << 30
    )


def _axes(head: bytes, order: str) -> tuple[int, int, int]:
    columns, rows, sections = struct.unpack(f"{order}3i", head[64:76])
    return (columns, rows, sections)


def _unsigned_bytes(head: bytes, order: str) -> bool:
    """Whether mode 0 means 0..255: IMOD says so by a flag, older files only by a range no signed byte can have."""
    stamp, flags = struct.unpack(f"{order}2i", head[152:160])
    if stamp == _IMOD_STAMP:
        return not flags & 1
    low, high = struct.unpack(f"{order}2f", head[76:84])
    return bool(low >= 0 and 127 < high <= 255)


def _printable(raw: bytes) -> str:
    text = raw.split(b"\x00")[0].decode("latin-1").strip()
    return text if text.isprintable() else ""
