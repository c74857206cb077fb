"""What is too small to be placed one by one: small proteins, RNA and peptides, as density with their mean and grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryoembed.simulate.density.template import DENSITY_PER_KDA, Mask, Volume

MOLECULE_KDA = 15.0  # a small protein or half a tRNA


def add_cytosol(
    density: Volume, where: Mask, fraction: float, voxel_size: float, generator: np.random.Generator
) -> None:
    """Add molecules of 15 kDa that fill a fraction of the space ``where``, in place.

    So many of them lie along the beam that only two moments show. Placed independently, n molecules of volume v in a
    voxel V have the mean density ``n v / V = fraction`` and the variance ``fraction (1 - fraction) v / V`` (what is
    full can't be filled again), before each is spread over its own size, a Gaussian with the radius of gyration of a
    ball of volume v.
    """
    volume = MOLECULE_KDA * DENSITY_PER_KDA
    radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
    grain: npt.NDArray[np.float32] = generator.standard_normal(density.shape, dtype=np.float32)
    grain *= np.float32(np.sqrt(fraction * (1 - fraction) * volume / voxel_size**3))
    ndimage.gaussian_filter(grain, radius / np.sqrt(5) / voxel_size, output=grain, truncate=3.0, mode="wrap")
    grain += np.float32(fraction)
    np.add(density, grain, out=density, where=where)
