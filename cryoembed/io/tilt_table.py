"""One table for everything that the field writes beside a tilt series, and its numbers read strictly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.sniff import read_text

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TiltTable:
    """One row per tilt image, in the order of the stack; what a file does not say is None.

    Attributes
    ----------
    tilts_deg
        (t,)
    doses
        (t,) e/A^2 on the sample before each exposure.
    axis_angles_deg
        (t,) in-plane angle of the tilt axis (Warp's convention).
    axis_offsets
        (t, 2) [y, x] in A.
    used
        (t,) bool: tilts that the user kept.
    """

    tilts_deg: Floats
    doses: Floats | None = None
    axis_angles_deg: Floats | None = None
    axis_offsets: Floats | None = None
    used: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.tilts_deg)


def rows_of_numbers(path: Path, columns: int, expected: str) -> Floats:
    """(rows, columns) of a text file with that many numbers on every line; empty lines and ``#`` are passed over."""
    rows = []
    for count, line in enumerate(read_text(path).splitlines(), 1):
        cells = line.replace(",", " ").split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != columns:
            raise InputError(f"{path} line {count}: {len(cells)} values; expected {expected}")
        rows.append([number(path, count, cell) for cell in cells])
    if not rows:
        raise InputError(f"{path} holds no numbers; expected {expected}")
    return np.array(rows)


def number(path: Path, line: int | None, cell: str) -> float:
    """A finite number; `InputError` for anything else."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        where = f" line {line}" if line else ""
        raise InputError(f"{path}{where}: {cell!r} is no number")
    return value
