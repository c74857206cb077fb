"""SHREC 2021's folder of one tomogram: four volumes and ``particle_locations.txt`` (name x y z and ZXZ angles).

The occupancy mask holds the 1-based line number of each particle, the class mask the number of its class. In the
published data the classes are numbered in a fixed order; elsewhere in the order in which the list first names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cryoembed import geometry, rotations
from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc import read_tomogram, write_mrc
from cryoembed.io.sniff import read_text
from cryoembed.particles import QUATERNION, Particles
from cryoembed.tomogram import Tomogram

LOCATIONS = "particle_locations.txt"
VOLUMES = ("reconstruction", "grandmodel", "class_mask", "occupancy_mask")
_CLASSES = "classes.json"
# fmt: off
SHREC_2021 = (
    "4V94", "4CR2", "1QVR", "1BXN", "3CF3", "1U6G", "3D2F", "2CG9", "3H84", "3GL1", "3QM1", "1S3X", "5MRC",
    "vesicle", "fiducial",
)
# fmt: on


@dataclass(frozen=True, eq=False)
class ShrecModel:
    """One simulated tomogram with its truth; volumes are memory-mapped, ``classes[i]`` has number ``i + 1``."""

    reconstruction: Tomogram
    grandmodel: Tomogram
    class_mask: Tomogram
    occupancy_mask: Tomogram
    particles: Particles
    classes: tuple[str, ...]


def is_model(folder: Path) -> bool:
    """Whether a folder looks like ``model_N``."""
    return (Path(folder) / LOCATIONS).is_file()


def read_model(folder: Path | str, *, voxel_size: float | None = None, origin: Triple = ORIGIN) -> ShrecModel:
    """Read a ``model_N`` folder.

    Parameters
    ----------
    folder
        Holds ``reconstruction, grandmodel, class_mask, occupancy_mask`` (.mrc) and ``particle_locations.txt``.
    voxel_size
        A; overrides the headers.
    origin
        A, zyx: where voxel 0 lies in the parent frame (for cropped models).

    Raises
    ------
    InputError
        If a file is missing or unreadable, or the four volumes differ in shape.
    """
    folder = Path(folder)
    missing = [name for name in (*(f"{volume}.mrc" for volume in VOLUMES), LOCATIONS) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is no SHREC model folder: missing {', '.join(missing)}")
    volumes = [
        read_tomogram(folder / f"{volume}.mrc", voxel_size=voxel_size, name=folder.name, origin=origin)
        for volume in VOLUMES
    ]
    if len({volume.shape for volume in volumes}) > 1:
        shapes = ", ".join(f"{name} {volume.shape}" for name, volume in zip(VOLUMES, volumes, strict=True))
        raise InputError(f"{folder}: the volumes differ in shape ({shapes}); crop all of them alike")
    particles = read_locations(
        folder / LOCATIONS, tomogram=folder.name, voxel_size=volumes[0].voxel_size, origin=origin
    )
    reconstruction, grandmodel, class_mask, occupancy_mask = volumes
    classes = class_names(folder, list(particles.labels))
    return ShrecModel(reconstruction, grandmodel, class_mask, occupancy_mask, particles, classes)


def read_locations(path: Path, *, tomogram: str, voxel_size: float | None, origin: Triple = ORIGIN) -> Particles:
    """Read ``particle_locations.txt``; ``instance`` is the 1-based line number, angles of NaN stay without rotation."""
    if voxel_size is None:
        raise InputError(f"{path}: positions are in voxels; pass --voxel-size (A per voxel)")
    lines = [line.split() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    bad = next((number for number, cells in enumerate(lines, 1) if len(cells) not in (4, 7)), None)
    if bad is not None:
        raise InputError(f"{path} line {bad}: expected 'name x y z theta phi psi' (or 'name x y z')")
    try:
        numbers = np.array([[float(c) for c in (*cells[1:], *["nan"] * (7 - len(cells)))] for cells in lines])
    except ValueError as error:
        raise InputError(f"{path}: {error}; expected 'name x y z theta phi psi'") from None
    numbers = numbers.reshape(-1, 6)
    positions = geometry.voxel_to_angstrom(geometry.reverse_axes(numbers[:, :3]), voxel_size, origin)
    particles = Particles.from_arrays(
        tomogram, positions, label=[cells[0] for cells in lines], instance=np.arange(1, len(lines) + 1)
    )
    oriented = np.isfinite(numbers[:, 3:]).all(axis=1)
    if not oriented.any():
        return particles
    quaternions = np.full((len(lines), 4), np.nan, dtype=np.float32)
    quaternions[oriented] = rotations.from_shrec_deg(numbers[oriented, 3:]).as_quat()
    return particles.with_columns(**{name: quaternions[:, i] for i, name in enumerate(QUATERNION)})


def write_model(
    folder: Path | str,
    *,
    reconstruction: npt.NDArray[Any],
    grandmodel: npt.NDArray[Any],
    class_mask: npt.NDArray[Any],
    occupancy_mask: npt.NDArray[Any],
    particles: Particles,
    voxel_size: float,
    origin: Triple = ORIGIN,
    classes: Sequence[str] | None = None,
    cube: bool = False,
) -> None:
    """Write a ``model_N`` folder; line ``i`` of the list is row ``i - 1`` of ``particles`` (occupancy id ``i``).

    ``classes`` names the numbers of the class mask from 1 on; default: the order in which the particles name them.
    Positions are rounded to voxels, as SHREC has them: keep a particle table beside the folder for the exact ones.
    ``cube`` writes cubic volumes with the sample in the middle, as SHREC published them (512^3 with 180 filled slices);
    ``particles`` are then given, like ``origin``, in the frame of the sample, and written in that of the cube.
    """
    folder = Path(folder)
    volumes = dict(zip(VOLUMES, (reconstruction, grandmodel, class_mask, occupancy_mask), strict=True))
    for name, volume in volumes.items():
        values = _compact(volume) if name.endswith("_mask") else volume
        # noise has no end: around a reconstruction stands its mean, which changes nobody's normalisation
        around = float(volume.mean()) if name == "reconstruction" else 0.0
        write_mrc(folder / f"{name}.mrc", in_cube(values, around) if cube else values, voxel_size)
    if cube:
        origin = tuple(o - step for o, step in zip(origin, cube_offset(grandmodel.shape, voxel_size), strict=True))  # type: ignore[assignment]
    names = list(classes) if classes is not None else list(dict.fromkeys(particles.labels))
    with replacing(folder / _CLASSES) as temporary:
        temporary.write_text(json.dumps(names) + "\n", encoding="utf-8")
    with replacing(folder / LOCATIONS) as temporary:  # last: a folder without it is no model
        temporary.write_text(_locations_text(particles, voxel_size, origin), encoding="utf-8")


def cube_offset(shape_zyx: Sequence[int], voxel_size: float) -> Triple:
    """(z, y, x) in A: what a position in a sample of this shape gains in the cube that holds it in the middle."""
    z, y, x = ((max(shape_zyx) - size) // 2 * voxel_size for size in shape_zyx)
    return (z, y, x)


def in_cube(volume: npt.NDArray[Any], around: float = 0.0) -> npt.NDArray[Any]:
    """The cube with a volume in its middle, ``around`` elsewhere."""
    side = max(volume.shape)
    padded = np.full((side, side, side), around, dtype=volume.dtype)
    padded[tuple(slice((side - size) // 2, (side - size) // 2 + size) for size in volume.shape)] = volume
    return padded


def class_names(folder: Path, labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the class numbers from 1 on: as written beside the model, else SHREC's own order, else as listed."""
    path = folder / _CLASSES
    if path.is_file():
        return tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8")))
    return SHREC_2021 if set(labels) <= set(SHREC_2021) else tuple(dict.fromkeys(labels))


def _compact(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels in the smallest integer type of MRC files that holds them."""
    if mask.dtype.kind not in "iub" or not mask.size:
        return mask
    for dtype in (np.int8, np.int16, np.uint16):
        if np.iinfo(dtype).min <= mask.min() and mask.max() <= np.iinfo(dtype).max:
            return mask.astype(dtype, copy=False)
    return mask


def _locations_text(particles: Particles, voxel_size: float, origin: Triple) -> str:
    voxels = geometry.nearest_voxel(geometry.angstrom_to_voxel(particles.positions_zyx, voxel_size, origin))
    oriented = np.zeros(len(particles), dtype=bool)
    angles = np.full((len(particles), 3), np.nan)
    if particles.rotations is not None:
        oriented = particles.table[list(QUATERNION)].notna().all(axis=1).to_numpy()
        angles = rotations.to_shrec_deg(particles.rotations)
    lines = []
    for label, (z, y, x), has_angles, (a, b, c) in zip(particles.labels, voxels, oriented, angles, strict=True):
        turn = f"{a:.4f} {b:.4f} {c:.4f}" if has_angles else "NaN NaN NaN"
        lines.append(f"{_name(label)} {x} {y} {z} {turn}\n")
    return "".join(lines)


def _name(label: Any) -> str:
    return "_".join(str(label).split()) if pd.notna(label) and str(label).strip() else "unknown"
