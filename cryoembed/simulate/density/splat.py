"""Points -> density: sums of isotropic Gaussians, each integrated over voxels, so integral and centre are exact."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.compiled import compiled

_REACH = 5.4  # s.d.: a Gaussian's tail beyond is 3e-8 of it along an axis


def splat(
    positions_zyx: npt.ArrayLike,
    weights: npt.ArrayLike,
    box_vox: int,
    voxel_size: float,
    sigma: npt.ArrayLike,
    *,
    out: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float32]:
    """Sum of isotropic Gaussians, each integrated over the voxels of a cube.

    Parameters
    ----------
    positions_zyx
        (n, 3) A from the centre of voxel ``box_vox // 2``.
    weights
        (n,) integral of each Gaussian; or (n, k) for k Gaussians at each point.
    sigma
        A: one for all, or the shape of ``weights``.
    out
        (box, box, box) float64 to add to, for points that come in blocks.

    Returns
    -------
    (box, box, box) float32 whose sum is the sum of the weights (less what lies outside of the box).
    """
    positions = np.ascontiguousarray(np.atleast_2d(np.asarray(positions_zyx, dtype=np.float64)))
    amounts = np.asarray(weights, dtype=np.float64).reshape(len(positions), -1)
    sigmas = np.broadcast_to(np.asarray(sigma, dtype=np.float64), np.shape(weights)).reshape(amounts.shape)
    density = np.zeros((box_vox,) * 3, dtype=np.float64) if out is None else out
    _add(density, positions / voxel_size + box_vox // 2, amounts, np.ascontiguousarray(sigmas) / voxel_size)
    return density.astype(np.float32)


@compiled(nogil=True)
def _add(
    density: npt.NDArray[np.float64],
    places: npt.NDArray[np.float64],
    amounts: npt.NDArray[np.float64],
    sigmas: npt.NDArray[np.float64],
) -> None:
    """Add Gaussians to a cube; a Gaussian touches the voxels within ``_REACH`` of it only. All in voxels."""
    size = density.shape[0]
    shares = np.zeros((3, size))
    low, high = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for point in range(places.shape[0]):
        for kind in range(amounts.shape[1]):
            amount, sigma = amounts[point, kind], sigmas[point, kind]
            if amount == 0.0:
                continue
            empty = False
            for axis in range(3):
                centre = places[point, axis]
                low[axis] = max(math.floor(centre - _REACH * sigma + 0.5), 0)
                high[axis] = min(math.floor(centre + _REACH * sigma + 0.5) + 1, size)
                empty |= low[axis] >= high[axis]
                scale = 1.0 / (math.sqrt(2.0) * sigma)
                before = math.erf((low[axis] - 0.5 - centre) * scale)
                for voxel in range(low[axis], high[axis]):
                    after = math.erf((voxel + 0.5 - centre) * scale)
                    shares[axis, voxel] = 0.5 * (after - before)
                    before = after
            if empty:
                continue
            for z in range(low[0], high[0]):
                for y in range(low[1], high[1]):
                    row = amount * shares[0, z] * shares[1, y]
                    for x in range(low[2], high[2]):
                        density[z, y, x] += row * shares[2, x]
