"""Seeds of particles: the highest points of a smoothed distance map."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter

Volume = npt.NDArray[np.float32]  # (z, y, x)
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]


def smoothed(distance: npt.NDArray[np.floating], mask: Mask, sigma_vox: float) -> Volume:
    """Gaussian smoothing that keeps the mask's outside at zero; at the volume's border the last voxel continues."""
    masked = np.where(mask, distance, 0).astype(np.float32)
    if sigma_vox > 0:
        masked = gaussian_filter(masked, sigma_vox, mode="nearest", truncate=3)
    masked[~mask] = 0
    return masked


def seeds(height: Volume, mask: Mask, *, radius_vox: float) -> Labels:
    """Label the plateaus that are the highest within a radius, one label each.

    Parameters
    ----------
    height
        (z, y, x), larger inside particles; from `smoothed`.
    mask
        Where particles may be. Every connected part of it gets at least one seed.
    radius_vox
        Two seeds are farther apart than this; larger particles get several, to be merged later (`multicut`).

    Returns
    -------
    (z, y, x) int32, 0 where there is no seed. Maxima on the volume's border count like any other.
    """
    peaks = mask & (height > 0) & (height >= maximum_filter(height, footprint=_ball(radius_vox), mode="nearest"))
    return np.asarray(cc3d.connected_components(peaks, connectivity=26), dtype=np.int32)


def _ball(radius_vox: float) -> Mask:
    reach = int(np.floor(radius_vox))
    grid = np.indices((2 * reach + 1,) * 3) - reach
    return np.asarray((grid**2).sum(axis=0) <= radius_vox**2)
