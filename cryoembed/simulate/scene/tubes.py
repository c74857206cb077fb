"""Tubes and Gaussians straight into a volume: only the voxels near a path or an atom are touched.

A filament may cross the whole sample, so nothing here makes a window of its size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.compiled import compiled
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Volume
from cryoembed.simulate.scene.paths import Path, Points

Taken = npt.NDArray[np.bool_]
_REACH = 3.5  # s.d. of a Gaussian that are written: 5e-4 of it is cut off per axis, and made good
_STEP = 0.5  # voxels between the discs of a tube
_HALF_DIAGONAL = math.sqrt(3) / 2  # voxels: how far the nearest voxel may be from a point


def tube_is_free(
    taken: npt.NDArray[np.bool_], path: Path, radius: float, voxel_size: float, *, may_stick_out: bool = False
) -> bool:
    """Whether no voxel of a tube (radius in A) around a path is taken, or, unless it may be, outside of the volume."""
    points, tangents = _discs(path, voxel_size)
    return bool(_tube_is_free(taken, points, tangents, _thick(radius, voxel_size), may_stick_out))


def paint_tube(
    volume: npt.NDArray[Any], path: Path, radius: float, voxel_size: float, value: float, *, lumen: float = 0.0
) -> None:
    """Write a value to the voxels of a tube: between ``lumen`` and ``radius`` A from the path, its nearest always."""
    points, tangents = _discs(path, voxel_size)
    _paint_tube(volume, points, tangents, _thick(radius, voxel_size), lumen / voxel_size, volume.dtype.type(value))


def add_atoms(
    density: npt.NDArray[np.float32], atoms: Points, masses: npt.ArrayLike, voxel_size: float, sigma: float
) -> None:
    """Add Gaussians of s.d. ``sigma`` A, integrated over voxels, at ``atoms`` (n, 3) A; each integral is its mass's.

    What falls outside of the volume is lost, as it would be in a tomogram.
    """
    integrals = np.asarray(masses, dtype=np.float64) * DENSITY_PER_KDA / voxel_size**3
    _add_gaussians(density, np.ascontiguousarray(atoms / voxel_size), integrals, sigma / voxel_size)


def _thick(radius: float, voxel_size: float) -> float:
    """Voxels; never so thin that a point of the path misses its nearest voxel."""
    return max(radius / voxel_size, _HALF_DIAGONAL)


def _discs(path: Path, voxel_size: float) -> tuple[Points, Points]:
    every = max(1, int(_STEP * voxel_size / path.spacing))
    rows = np.unique(np.append(np.arange(0, len(path.points), every), len(path.points) - 1))
    return np.ascontiguousarray(path.points[rows] / voxel_size), np.ascontiguousarray(path.tangents[rows])


@compiled()
def _tube_is_free(taken: Taken, points: Points, tangents: Points, radius: float, may_stick_out: bool) -> bool:
    reach, half = int(np.ceil(radius + 1)), _HALF_DIAGONAL
    some = False
    for i in range(len(points)):
        cz, cy, cx = round(points[i, 0]), round(points[i, 1]), round(points[i, 2])
        for z in range(cz - reach, cz + reach + 1):
            for y in range(cy - reach, cy + reach + 1):
                for x in range(cx - reach, cx + reach + 1):
                    dz, dy, dx = z - points[i, 0], y - points[i, 1], x - points[i, 2]
                    along = dz * tangents[i, 0] + dy * tangents[i, 1] + dx * tangents[i, 2]
                    if abs(along) > half or dz * dz + dy * dy + dx * dx - along * along > radius * radius:
                        continue
                    if z < 0 or y < 0 or x < 0 or z >= taken.shape[0] or y >= taken.shape[1] or x >= taken.shape[2]:
                        if not may_stick_out:
                            return False
                        continue
                    some = True
                    if taken[z, y, x]:
                        return False
    return some


@compiled()
def _paint_tube(
    volume: npt.NDArray[Any], points: Points, tangents: Points, radius: float, lumen: float, value: Any
) -> None:
    reach, half = int(np.ceil(radius + 1)), _HALF_DIAGONAL
    for i in range(len(points)):
        cz, cy, cx = round(points[i, 0]), round(points[i, 1]), round(points[i, 2])
        for z in range(max(0, cz - reach), min(volume.shape[0], cz + reach + 1)):
            for y in range(max(0, cy - reach), min(volume.shape[1], cy + reach + 1)):
                for x in range(max(0, cx - reach), min(volume.shape[2], cx + reach + 1)):
                    dz, dy, dx = z - points[i, 0], y - points[i, 1], x - points[i, 2]
                    along = dz * tangents[i, 0] + dy * tangents[i, 1] + dx * tangents[i, 2]
                    off = dz * dz + dy * dy + dx * dx - along * along
                    if abs(along) <= half and lumen * lumen <= off + 1e-9 and off <= radius * radius:
                        volume[z, y, x] = value


@compiled()
def _add_gaussians(density: Volume, centres: Points, integrals: Points, sigma: float) -> None:
    half = int(np.ceil(_REACH * sigma))
    width = 2 * half + 1
    profile = np.empty((3, width))
    start = np.empty(3, dtype=np.int64)
    scale = 1 / (np.sqrt(2.0) * sigma)
    for i in range(len(centres)):
        for axis in range(3):
            start[axis] = int(np.floor(centres[i, axis] + 0.5)) - half
            total = 0.0
            before = math.erf((start[axis] - 0.5 - centres[i, axis]) * scale)
            for k in range(width):
                after = math.erf((start[axis] + k + 0.5 - centres[i, axis]) * scale)
                profile[axis, k] = after - before
                total += after - before
                before = after
            for k in range(width):
                profile[axis, k] /= total
        for a in range(max(0, -start[0]), min(width, density.shape[0] - start[0])):
            for b in range(max(0, -start[1]), min(width, density.shape[1] - start[1])):
                part = integrals[i] * profile[0, a] * profile[1, b]
                for c in range(max(0, -start[2]), min(width, density.shape[2] - start[2])):
                    density[start[0] + a, start[1] + b, start[2] + c] += part * profile[2, c]
