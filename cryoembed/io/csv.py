"""Particles as a table: csv (any of , ; tab |, with or without a byte-order mark) and parquet, columns in A."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple, voxel_to_angstrom
from cryoembed.io.atomic import replacing
from cryoembed.io.sniff import read_bytes, read_text
from cryoembed.particles import POSITION, Particles

WANTED = "expected the columns tomogram,z,y,x (A), and any of label,score,particle_id,... (or z_vox,y_vox,x_vox)"
_TEXT = ("tomogram", "label", "particle_id")  # 00254 is a name, and 12e45678 an id: no numbers
_EMPTY = ("", "NA", "<NA>", "N/A", "nan", "NaN", "null", "None")  # cells of number columns that hold nothing
_VOXELS = tuple(f"{axis}_vox" for axis in POSITION)
# other programs' names for the same columns with the same meaning: CZII's, napari's points layer
_ALIASES = {
    "experiment": "tomogram",
    "tomo_name": "tomogram",
    "tomogram_name": "tomogram",
    "particle_type": "label",
    "axis-0": "z_vox",
    "axis-1": "y_vox",
    "axis-2": "x_vox",
}


def read_csv(
    path: Path,
    *,
    tomogram: str | None = None,
    voxel_size: float | None = None,
    origins: Mapping[str, Triple] | None = None,
) -> Particles:
    """Read a csv with a header.

    ``z,y,x`` are A in the parent frame whatever ``voxel_size`` is; ``z_vox,y_vox,x_vox`` are multiplied by it and
    shifted by ``origins`` (A, zyx, by tomogram).
    ``tomogram`` names the rows of a file without that column.

    Raises
    ------
    InputError
        If there is no header (the order of the axes would be a guess), or a column is missing.
    """
    text = read_text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path} is empty; {WANTED}")
    header = lines[0]
    separator = max((",", ";", "\t", "|"), key=header.count)
    cells = [cell.strip().strip('"') for cell in header.split(separator)]
    if all(_is_number(cell) for cell in cells):
        raise InputError(
            f"{path} has no header line (it starts with {header.strip()[:40]!r}), so the order of its axes and their "
            f"unit are unknown; {WANTED}"
        )
    try:
        table = pd.read_csv(
            io.StringIO("\n".join(lines)),
            sep=separator,
            quoting=csv.QUOTE_MINIMAL,
            skipinitialspace=True,
            float_precision="round_trip",
            keep_default_na=False,  # NA and None are names people give to proteins
            na_values={name: list(_EMPTY) for name in cells if not _is_text(name)},
            dtype={name: str for name in cells if _is_text(name)},
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); {WANTED}") from None
    return _to_particles(table, path, tomogram=tomogram, voxel_size=voxel_size, origins=origins)


def write_csv(path: Path, particles: Particles) -> None:
    """Write every column, full precision, in the order of the table."""
    with replacing(path) as temporary:
        particles.table.to_csv(temporary, index=False, lineterminator="\n")


def read_parquet(path: Path, *, tomogram: str | None = None) -> Particles:
    """Read a parquet table with the same columns as the csv."""
    content = read_bytes(path)
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is not a readable parquet table ({reason}); write it again") from None
    return _to_particles(table, path, tomogram=tomogram, voxel_size=None)


def write_parquet(path: Path, particles: Particles) -> None:
    """Write every column with its type."""
    with replacing(path) as temporary:
        particles.table.to_parquet(temporary, index=False)


def _to_particles(
    table: pd.DataFrame,
    path: Path,
    *,
    tomogram: str | None,
    voxel_size: float | None,
    origins: Mapping[str, Triple] | None = None,
) -> Particles:
    table = table.rename(columns={name: _known_name(str(name)) for name in table.columns})
    if not table.columns.is_unique:
        twice = ", ".join(sorted(set(table.columns[table.columns.duplicated()])))
        raise InputError(f"{path}: several columns mean {twice}; keep one of them")
    if set(_VOXELS) <= set(table.columns) and not set(POSITION) & set(table.columns):
        if voxel_size is None:
            raise InputError(f"{path}: positions are in voxels; pass --voxel-size (A per voxel)")
        voxels = table[list(_VOXELS)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        table = table.drop(columns=list(_VOXELS))
        names = table["tomogram"].astype(str) if "tomogram" in table.columns else [tomogram] * len(table)
        shifts = [(origins or {}).get(str(name), ORIGIN) for name in names]
        table[list(POSITION)] = voxel_to_angstrom(voxels, voxel_size) + np.asarray(shifts, dtype=float).reshape(-1, 3)
    missing = [name for name in POSITION if name not in table.columns]
    if missing:
        found = ",".join(map(str, table.columns))
        raise InputError(f"{path}: missing {', '.join(missing)} among the columns {found}; {WANTED}")
    if "tomogram" not in table.columns:
        if tomogram is None:
            raise InputError(f"{path}: no column 'tomogram'; add it, or pass --tomogram NAME")
        table.insert(0, "tomogram", tomogram)
    return Particles(table)


def _known_name(name: str) -> str:
    lowered = name.strip().lower()
    known = (*POSITION, *_VOXELS, "tomogram", "label", "score", "probability", "particle_id")
    return _ALIASES.get(lowered, lowered if lowered in known else name.strip())


def _is_text(name: str) -> bool:
    return _ALIASES.get(name.lower(), name.lower()) in _TEXT


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
