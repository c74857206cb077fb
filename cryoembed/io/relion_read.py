"""Particles from RELION's and Warp's STAR columns: which coordinate means what, and which pixel it counts.

RELION 5 counts A from the tomogram's centre; RELION 4 counts unbinned pixels of the tilt series from the corner;
RELION 3 and Warp count pixels of the tomogram they picked in, Warp always at the pixel size of what it exports.
Shifts (``rlnOrigin*``) are subtracted, turned by the subtomogram angles (RELION 5, ``ParticleSet::getPosition``);
the orientation is the subtomogram's after the particle's (``ParticleSet::getMatrix3x3``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.transform import Rotation

from cryoembed import geometry, rotations
from cryoembed.errors import InputError
from cryoembed.geometry import Points, RelionCentre
from cryoembed.io.relion_columns import (
    CENTRED,
    OWN,
    PARTICLE_ANGLES,
    PIXELS,
    SCORES,
    SHIFT_ANGSTROM,
    SHIFT_PIXELS,
    SUBTOMOGRAM_ANGLES,
    UNSET,
)
from cryoembed.io.sniff import tomogram_name
from cryoembed.io.tomogram_info import TomogramInfo, find_info
from cryoembed.particles import Particles

log = logging.getLogger(__name__)
Numbers = npt.NDArray[np.float64]


def is_particle_table(table: pd.DataFrame) -> bool:
    """Whether a STAR block holds 3D particle positions."""
    return set(CENTRED) <= set(table.columns) or set(PIXELS) <= set(table.columns)


def particles_from_star(
    table: pd.DataFrame,
    optics: pd.DataFrame | None,
    *,
    path: Path,
    tomogram: str | None,
    voxel_size: float | None,
    infos: dict[str, TomogramInfo],
    relion_centre: RelionCentre,
) -> Particles:
    """Turn a particle block into `Particles`: positions in A in the parent frame, shifts applied, angles combined.

    ``voxel_size`` (A per pixel of ``rlnCoordinate*``) wins over what the file says; ``tomogram`` names the rows of a
    file that names none. Raises `InputError` where a size or a pixel size is needed and unknown.
    """
    raw_names = _raw_names(table, path, tomogram)
    names = [tomogram_name(name) for name in raw_names]
    rows = _optics_of_rows(table, optics)
    subtomogram = _rotation(table, SUBTOMOGRAM_ANGLES)
    if set(CENTRED) <= set(table.columns):
        positions = _from_centre(_numbers(table, CENTRED, path), names, infos, relion_centre)
        pixel_size = None
    else:
        pixel_size = _pixel_size(rows, raw_names, names, infos, voxel_size, path)
        positions = _numbers(table, PIXELS, path)[:, ::-1] * pixel_size[:, None]
        positions += np.array([infos[name].origin if name in infos else geometry.ORIGIN for name in names]).reshape(
            -1, 3
        )
    positions = positions - _shifts_zyx(rows, subtomogram, pixel_size, path)
    particle = _rotation(table, PARTICLE_ANGLES)
    turned = _combine(subtomogram, particle)
    return Particles.from_arrays(names, positions, rotations=turned, **_other_columns(table))


def _raw_names(table: pd.DataFrame, path: Path, tomogram: str | None) -> list[str]:
    for column in ("rlnTomoName", "rlnMicrographName"):
        if column in table.columns:
            return [str(name) for name in table[column]]
    if tomogram is None:
        raise InputError(f"{path} names no tomogram (rlnTomoName or rlnMicrographName); pass --tomogram NAME")
    return [tomogram] * len(table)


def _optics_of_rows(table: pd.DataFrame, optics: pd.DataFrame | None) -> pd.DataFrame:
    """The particle rows with the columns of their optics group added (a particle's own column wins)."""
    table = table.reset_index(drop=True)
    if optics is None or optics.empty:
        return table
    if len(optics) == 1 or "rlnOpticsGroup" not in table.columns:
        extra = optics.iloc[[0] * len(table)].reset_index(drop=True)
    else:
        extra = optics.drop_duplicates("rlnOpticsGroup").set_index("rlnOpticsGroup")
        extra = extra.reindex(table["rlnOpticsGroup"]).reset_index(drop=True)
    return pd.concat([table, extra[[name for name in extra.columns if name not in table.columns]]], axis=1)


def _numbers(table: pd.DataFrame, columns: tuple[str, ...], path: Path) -> Numbers:
    try:
        return table[list(columns)].to_numpy(dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{path}: {', '.join(columns)} hold values that are not numbers") from None


def _from_centre(
    centred_xyz: Numbers, names: list[str], infos: dict[str, TomogramInfo], relion_centre: RelionCentre
) -> Points:
    centred = geometry.reverse_axes(centred_xyz)
    of_row = np.asarray(names, dtype=object)
    for name in dict.fromkeys(names):
        info = find_info(infos, name, "its coordinates count from the centre, so its size is needed")
        rows = of_row == name
        corner = geometry.corner_from_centred(centred[rows], info.size_zyx_px, info.pixel_size, relion_centre)
        centred[rows] = corner + np.asarray(info.origin)
    return centred


def _pixel_size(
    rows: pd.DataFrame,
    raw_names: list[str],
    names: list[str],
    infos: Mapping[str, TomogramInfo],
    voxel_size: float | None,
    path: Path,
) -> Numbers:
    """A per pixel of ``rlnCoordinate*``, row by row; the file's generation decides which column that is."""
    if voxel_size is not None:
        return np.full(len(rows), float(voxel_size))
    candidates: list[str] = ["rlnMicrographPixelSize", "rlnPixelSize", "rlnImagePixelSize", "rlnDetectorPixelSize"]
    if any(
        name.endswith(".tomostar") for name in raw_names
    ):  # Warp counts pixels of what it exports, in any generation
        candidates = ["rlnPixelSize", "rlnImagePixelSize", "rlnDetectorPixelSize"]
    elif "rlnTomoName" in rows.columns:
        candidates = ["rlnTomoTiltSeriesPixelSize", *candidates]
    column = next((name for name in candidates if name in rows.columns and rows[name].notna().all()), None)
    if column is not None:
        size = _numbers(rows, (column,), path)[:, 0]
        if column == "rlnDetectorPixelSize" and "rlnMagnification" in rows.columns:
            size = size * 1e4 / _numbers(rows, ("rlnMagnification",), path)[:, 0]
        log.info("%s: coordinates are pixels of %s A (%s)", path.name, _few(size), column)
    elif all(name in infos and infos[name].star_name for name in names):  # a tomogram's own voxels may be binned ones
        size = np.array([infos[name].pixel_size for name in names], dtype=np.float64)
        log.info("%s: coordinates are pixels of %s A (of the tomograms)", path.name, _few(size))
    else:
        raise InputError(
            f"{path} does not say how large its pixels are; pass --voxel-size (A per pixel of rlnCoordinateX)"
        )
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise InputError(f"{path}: pixel size {_few(size)} A is not positive; pass --voxel-size")
    return size


def _shifts_zyx(rows: pd.DataFrame, subtomogram: Rotation | None, pixel_size: Numbers | None, path: Path) -> Points:
    """A to subtract from the positions; a shift in pixels (RELION 3.0) counts pixels of the particle image."""
    if set(SHIFT_ANGSTROM) <= set(rows.columns):
        shifts = _numbers(rows, SHIFT_ANGSTROM, path)
    elif set(SHIFT_PIXELS) <= set(rows.columns):
        image = next((name for name in ("rlnPixelSize", "rlnImagePixelSize") if name in rows.columns), None)
        scale = _numbers(rows, (image,), path)[:, 0] if image else pixel_size
        if scale is None:
            raise InputError(f"{path}: rlnOriginX/Y/Z are in pixels of unknown size; pass --voxel-size")
        shifts = _numbers(rows, SHIFT_PIXELS, path) * scale[:, None]
    else:
        return np.zeros((len(rows), 3))
    shifts = np.nan_to_num(shifts)
    return geometry.reverse_axes(subtomogram.apply(shifts) if subtomogram is not None else shifts)


def _rotation(table: pd.DataFrame, columns: tuple[str, ...]) -> Rotation | None:
    if table.empty or not set(columns) <= set(table.columns):
        return None
    angles = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    return rotations.from_relion_deg(np.nan_to_num(angles))


def _combine(subtomogram: Rotation | None, particle: Rotation | None) -> Rotation | None:
    if subtomogram is None or particle is None:
        return subtomogram if particle is None else particle
    return subtomogram * particle


def _other_columns(table: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    score = next((name for name in SCORES if name in table.columns), None)
    if score is not None:
        columns["score"] = pd.to_numeric(table[score], errors="coerce").replace(UNSET, np.nan).to_numpy()
    if "rlnClassNumber" in table.columns:
        numbers = pd.to_numeric(table["rlnClassNumber"], errors="coerce").fillna(0).astype(int)
        columns["label"] = [str(number) if number > 0 else "" for number in numbers]
    for name, own in OWN.items():
        if own in table.columns:
            columns[name] = table[own].to_numpy()
    return columns


def _few(values: Numbers) -> str:
    return ", ".join(f"{value:g}" for value in np.unique(values)[:4])
