"""Clouds of (pseudo-)atoms -> density: sums of Gaussians integrated over voxels, so mass and centre are exact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Split, Template, check_mass

Points = npt.NDArray[np.float64]
_BLOCK = 20000  # atoms per matrix product: bounds memory at about box^2 * 80 kB / box


def sigma_of_resolution(resolution: float, voxel_size: float) -> float:
    """Gaussian s.d. (A) of a map at this resolution (its Fourier amplitude is 1/e there), never below half a voxel."""
    return float(max(resolution / (np.pi * np.sqrt(2.0)), 0.5 * voxel_size))


def splat(
    positions_zyx: npt.ArrayLike, weights: npt.ArrayLike, box_vox: int, voxel_size: float, sigma: float
) -> npt.NDArray[np.float32]:
    """Sum of isotropic Gaussians, each integrated over the voxels of a cube.

    Parameters
    ----------
    positions_zyx
        (n, 3) A from the centre of voxel ``box_vox // 2``.
    weights
        (n,) integral of each Gaussian.
    sigma
        A.

    Returns
    -------
    (box, box, box) float32 whose sum is the sum of the weights (less what lies outside of the box).
    """
    positions = np.atleast_2d(np.asarray(positions_zyx, dtype=np.float64))
    weights = np.asarray(weights, dtype=np.float64)
    edges = np.asarray((np.arange(box_vox + 1) - 0.5 - box_vox // 2) * voxel_size, dtype=np.float64)
    density = np.zeros((box_vox, box_vox, box_vox), dtype=np.float64)
    order = np.argsort(positions[:, 0], kind="stable")  # along z a block of atoms touches a few slices only
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        along = [_profile(positions[rows, axis], edges, sigma) for axis in range(3)]
        weighted = (along[1] * weights[rows, None].astype(np.float32)).T.copy()
        for index in range(box_vox):
            part = along[0][:, index]
            near = np.flatnonzero(part > 1e-7)
            if len(near):
                density[index] += (weighted[:, near] * part[near]) @ along[2][near]
    return density.astype(np.float32)


def template_from_atoms(
    name: str,
    positions_zyx: npt.ArrayLike,
    weights: npt.ArrayLike,
    voxel_size: float,
    mass_kda: float,
    *,
    resolution: float = 12.0,
    symmetry: str = "C1",
    split: Split = "train",
    box_vox: int | None = None,
) -> Template:
    """A template from (pseudo-)atoms: (n, 3) positions in A (any origin), (n,) relative weights.

    Raises
    ------
    InputError
        If there are no atoms, the total weight or the mass is not positive, or the box is smaller than the particle.
    """
    positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
    weights = np.asarray(weights, dtype=np.float64)
    if len(positions) == 0:
        raise InputError(f"template {name}: no atoms; expected a structure with coordinates")
    check_mass(name, mass_kda)
    if not weights.sum() > 0:
        raise InputError(f"template {name}: the atoms' weights sum to {weights.sum():.3g}; expected a positive mass")
    positions = positions - np.average(positions, axis=0, weights=weights)
    sigma = sigma_of_resolution(resolution, voxel_size)
    reach = np.sqrt((positions**2).sum(axis=1).max()) + 3 * sigma
    needed = 2 * int(np.ceil(reach / voxel_size)) + 1
    size = needed if box_vox is None else box_vox
    if size < needed:
        raise InputError(
            f"template {name}: a box of {size} voxels is smaller than the particle; give at least {needed}"
        )
    density = splat(positions, weights / weights.sum(), size, voxel_size, sigma)
    density *= np.float32(mass_kda * DENSITY_PER_KDA / voxel_size**3 / density.sum(dtype=np.float64))
    return Template(name, density, voxel_size, float(mass_kda), symmetry, split)


def _profile(centres: Points, edges: Points, sigma: float) -> npt.NDArray[np.float32]:
    """(n, box) share of each Gaussian in each voxel along one axis."""
    cumulative = 0.5 * erf((edges[None, :] - centres[:, None]) / (np.sqrt(2.0) * sigma))
    return np.asarray(np.diff(cumulative, axis=1), dtype=np.float32)
