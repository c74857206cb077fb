"""Particles as the STAR blocks that RELION 5, RELION 4 and Warp read: coordinates, angles, optics groups, names."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from cryoembed import geometry, rotations
from cryoembed.geometry import Points, RelionCentre
from cryoembed.io.relion_columns import CENTRED, OWN, PARTICLE_ANGLES, PIXELS, SUBTOMOGRAM_ANGLES, UNSET
from cryoembed.io.sniff import tomogram_name
from cryoembed.io.tomogram_info import TomogramInfo, find_info
from cryoembed.particles import DTYPES, Particles


def relion5_blocks(
    particles: Particles, infos: dict[str, TomogramInfo], relion_centre: RelionCentre
) -> dict[str, pd.DataFrame]:
    """Blocks ``optics`` and ``particles`` for RELION 5, coordinates in A from the tomogram's centre."""
    optics, group = _optics_groups(particles, infos)
    positions = np.zeros((len(particles), 3))
    for name, rows in _rows_by_tomogram(particles):
        info = find_info(infos, name, "RELION 5 wants its size")
        local = particles.positions_zyx[rows] - info.origin
        positions[rows] = geometry.centred_from_corner(local, info.size_zyx_px, info.pixel_size, relion_centre)
    table = _names_table(particles, infos)
    table[list(CENTRED)] = geometry.reverse_axes(positions)
    return {"optics": optics, "particles": _finish(table, particles, SUBTOMOGRAM_ANGLES, group)}


def relion4_blocks(particles: Particles, infos: dict[str, TomogramInfo]) -> dict[str, pd.DataFrame]:
    """Blocks ``optics`` and ``particles`` for RELION 4, coordinates in unbinned pixels from the corner."""
    optics, group = _optics_groups(particles, infos)
    table = _names_table(particles, infos)
    table[list(PIXELS)] = geometry.reverse_axes(_in_pixels(particles, infos))
    return {"optics": optics, "particles": _finish(table, particles, PARTICLE_ANGLES, group)}


def warp_blocks(particles: Particles, infos: dict[str, TomogramInfo]) -> dict[str, pd.DataFrame]:
    """One block for Warp: pixels from the corner, ``.tomostar`` names, the pixel size in every row."""
    table = pd.DataFrame({"rlnMicrographName": [f"{name}.tomostar" for name in particles.table["tomogram"]]})
    table[list(PIXELS)] = geometry.reverse_axes(_in_pixels(particles, infos))
    table["rlnMagnification"] = 10000.0
    table["rlnDetectorPixelSize"] = [infos[name].pixel_size for name in particles.table["tomogram"]]
    return {"particles": _finish(table, particles, PARTICLE_ANGLES, None)}


def _rows_by_tomogram(particles: Particles) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    of_row = particles.table["tomogram"].to_numpy()
    return [(name, np.asarray(of_row == name, dtype=bool)) for name in particles.tomograms]


def _in_pixels(particles: Particles, infos: dict[str, TomogramInfo]) -> Points:
    positions = np.zeros((len(particles), 3))
    for name, rows in _rows_by_tomogram(particles):
        info = find_info(infos, name, "its unbinned pixel size is needed")
        positions[rows] = geometry.angstrom_to_voxel(particles.positions_zyx[rows], info.pixel_size, info.origin)
    return positions


def _optics_groups(particles: Particles, infos: dict[str, TomogramInfo]) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """One optics group per distinct microscope setting, and the group number of every particle."""
    groups: dict[tuple[float, ...], int] = {}
    number = np.zeros(len(particles), dtype=np.int64)
    for name, rows in _rows_by_tomogram(particles):
        info = find_info(infos, name, "its pixel size is needed")
        key = (info.voltage, info.cs, info.amplitude_contrast, info.pixel_size)
        number[rows] = groups.setdefault(key, len(groups) + 1)
    columns = ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnTomoTiltSeriesPixelSize"]
    optics = pd.DataFrame(list(groups), columns=columns, dtype=np.float64)
    optics.insert(0, "rlnOpticsGroup", list(groups.values()))
    optics.insert(1, "rlnOpticsGroupName", [f"opticsGroup{number}" for number in groups.values()])
    return optics, number


def _names_table(particles: Particles, infos: dict[str, TomogramInfo]) -> pd.DataFrame:
    spelled = [infos[name].relion_name for name in particles.table["tomogram"]]
    count = particles.table.groupby("tomogram", sort=False).cumcount() + 1
    named = [f"{tomogram_name(name)}/{number}" for name, number in zip(spelled, count, strict=True)]
    return pd.DataFrame({"rlnTomoName": spelled, "rlnTomoParticleName": named})


def _finish(
    table: pd.DataFrame, particles: Particles, angles: tuple[str, ...], group: npt.NDArray[np.int64] | None
) -> pd.DataFrame:
    if particles.rotations is not None:
        table[list(angles)] = rotations.to_relion_deg(particles.rotations)
    if group is not None:
        table["rlnOpticsGroup"] = group
    if "score" in particles.table.columns:
        table["rlnAutopickFigureOfMerit"] = particles.table["score"].astype(np.float64).fillna(UNSET)
    labels = [_one_word_safe(str(label)) for label in particles.labels]
    if any(labels):
        known = list(dict.fromkeys(label for label in labels if label))
        table["rlnClassNumber"] = [known.index(label) + 1 if label else 0 for label in labels]
    for name, own in OWN.items():
        if name in particles.table.columns and (name != "label" or any(labels)):
            values = particles.table[name]
            table[own] = labels if name == "label" else values.astype(np.float64) if _is_float(name) else values
    return table


def _is_float(name: str) -> bool:
    return DTYPES[name].startswith("float")


def _one_word_safe(label: str) -> str:
    return re.sub(r"[\s\"'#]+", " ", label).strip()
