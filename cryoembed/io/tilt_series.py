"""What stands beside a stack of tilt images: angles, exposures and alignments, whichever program wrote them.

`.tlt` / `.rawtlt` (IMOD, AreTomo), `.xf` (IMOD), Warp's and M's `.xml`, SerialEM's `.mdoc`, PyTom's and SHREC's `.meta`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.io.sniff import suffix_of
from cryoembed.io.tilt_formats import read_angles, read_mdoc, read_meta, read_warp
from cryoembed.io.tilt_table import Floats, TiltTable, rows_of_numbers

STEEPEST_DEG = 90.0
__all__ = ["TiltTable", "read_tilts", "read_xf"]


def read_tilts(path: Path | str, *, images: int | None = None) -> TiltTable:
    """Read tilts from a file of any kind known here.

    Parameters
    ----------
    path
        ``.tlt``, ``.rawtlt``, ``.xml`` (Warp), ``.mdoc`` or ``.meta``.
    images
        How many images the stack has: another number of tilts is refused.

    Raises
    ------
    InputError
        If the file is missing, empty, of another kind, holds something that is no angle, or its length is wrong.
    """
    path = Path(path)
    readers = {
        ".tlt": read_angles,
        ".rawtlt": read_angles,
        ".xml": read_warp,
        ".mdoc": read_mdoc,
        ".meta": read_meta,
    }
    reader = readers.get(suffix_of(path))
    if reader is None:
        hint = "; alignments in .xf are read by read_xf" if suffix_of(path) == ".xf" else ""
        raise InputError(f"{path}: tilts are read from {', '.join(readers)} files{hint}")
    table = reader(path)
    if not len(table):
        raise InputError(f"{path} holds no tilt angles")
    steep = np.flatnonzero(~(np.abs(table.tilts_deg) <= STEEPEST_DEG))
    if len(steep):
        value = table.tilts_deg[steep[0]]
        raise InputError(f"{path}: tilt {steep[0] + 1} is {value}; expected degrees between -90 and 90")
    _check_count(path, len(table), images, "tilts")
    return table


def read_xf(path: Path | str, *, images: int | None = None) -> tuple[Floats, Floats]:
    """Read IMOD's transforms ``A11 A12 A21 A22 DX DY``: ``aligned = A (raw - centre) + D + centre`` in x, y, pixels.

    Returns
    -------
    (t, 2, 2) matrices and (t, 2) shifts, both with x before y as in the file.
    """
    path = Path(path)
    rows = rows_of_numbers(path, 6, "A11 A12 A21 A22 DX DY")
    _check_count(path, len(rows), images, "transforms")
    matrices = rows[:, :4].reshape(-1, 2, 2)
    flat = np.flatnonzero(np.abs(np.linalg.det(matrices)) < 1e-6)
    if len(flat):
        raise InputError(f"{path} line {flat[0] + 1}: the matrix cannot be inverted; this is no alignment")
    return matrices, rows[:, 4:]


def _check_count(path: Path, count: int, images: int | None, what: str) -> None:
    if images is not None and count != images:
        raise InputError(f"{path} holds {count} {what} for a stack of {images} images; this file belongs elsewhere")
