"""What else is in a sample: lipid vesicles and gold fiducials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.gold import GOLD_DENSITY
from cryoembed.simulate.density.template import Mask, Volume

# Densities relative to protein (1) over solvent (0).
_HEADGROUPS = 0.9
_TAILS = 0.15
_LEAFLET = 18.0  # A from the middle of the bilayer to the head groups
HEAD_SIGMA = 5.0
_SOFT = 6.0  # A: rim of a bead


@dataclass(frozen=True, eq=False)
class Solid:
    """Something placed as it is: a cubic (n, n, n) density around index ``n // 2``, and where it occupies space."""

    label: str
    density: Volume
    mask: Mask
    may_stick_out: bool = False


def vesicle(
    generator: np.random.Generator,
    voxel_size: float,
    shape_zyx: tuple[int, int, int],
    *,
    radius_range: tuple[float, float] = (150.0, 500.0),
) -> Solid:
    """An ellipsoidal lipid bilayer of random size (mean radius in A, bounded by the volume) and orientation."""
    largest = min(radius_range[1], 0.45 * sorted(shape_zyx)[1] * voxel_size)
    radius = generator.uniform(min(radius_range[0], largest), largest)
    aspect = np.exp(generator.normal(0, 0.12, size=3))
    semi = radius * aspect / np.prod(aspect) ** (1 / 3)
    half = int(np.ceil((semi.max() + 3 * _LEAFLET) / voxel_size))
    points = _grid(half, voxel_size) @ random_rotations(1, generator)[0].as_matrix().astype(np.float32)
    scaled = points / semi.astype(np.float32)
    level = np.sqrt((scaled**2).sum(axis=-1))
    slope = np.sqrt(((scaled / semi.astype(np.float32)) ** 2).sum(axis=-1))
    # distance to the surface to first order: (f - 1) / |grad f| with f = level
    distance = np.where(level < 0.3, -semi.min(), (level - 1) * level / np.maximum(slope, 1e-6))
    density = bilayer(distance, voxel_size)
    return Solid("vesicle", density, np.abs(distance) < _LEAFLET + HEAD_SIGMA, may_stick_out=True)


def bilayer(
    distance: npt.NDArray[np.floating], voxel_size: float, *, leaflet: float = _LEAFLET, head_sigma: float = HEAD_SIGMA
) -> Volume:
    """Density of a lipid bilayer by the distance (A) to its middle: two layers of head groups with tails between.

    Parameters
    ----------
    leaflet
        A from the middle to the middle of the head groups.
    head_sigma
        A, s.d. of a layer of head groups; widened, not heightened, where voxels are too coarse for it.
    """
    sigma = float(np.hypot(head_sigma, 0.35 * voxel_size))
    heads = np.exp(-((np.abs(distance) - leaflet) ** 2) / (2 * sigma**2)) * _HEADGROUPS * head_sigma / sigma
    tails = _TAILS * (np.abs(distance) < leaflet)
    density: Volume = (heads + tails).astype(np.float32)
    density[density < 0.01] = 0
    return density


def gold_bead(
    generator: np.random.Generator, voxel_size: float, *, diameter_range: tuple[float, float] = (80.0, 120.0)
) -> Solid:
    """A gold sphere of about 10 nm."""
    radius = generator.uniform(*diameter_range) / 2
    half = int(np.ceil((radius + 3 * _SOFT) / voxel_size))
    distance = np.sqrt((_grid(half, voxel_size) ** 2).sum(axis=-1)) - radius
    soft = max(_SOFT, 0.5 * voxel_size)
    density = (GOLD_DENSITY / (1 + np.exp(4 * distance / soft))).astype(np.float32)
    density[density < 0.01] = 0
    return Solid("fiducial", density, distance <= 0)


def _grid(half: int, voxel_size: float) -> npt.NDArray[np.float32]:
    """(n, n, n, 3) coordinates in A of a cube of ``2 half + 1`` voxels around its middle."""
    axis = (np.arange(-half, half + 1) * voxel_size).astype(np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
