"""Clouds of (pseudo-)atoms -> templates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.molecule import Molecule
from cryoembed.simulate.density.potential import potential
from cryoembed.simulate.density.splat import splat
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Split, Template, check_mass


def sigma_of_resolution(resolution: float, voxel_size: float) -> float:
    """Gaussian s.d. (A) of a map at this resolution (its Fourier amplitude is 1/e there), never below half a voxel."""
    return float(max(resolution / (np.pi * np.sqrt(2.0)), 0.5 * voxel_size))


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

    The template's ``origin_offset_zyx`` tells where the origin of the positions went.

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
    centre = np.average(positions, axis=0, weights=weights)
    positions = positions - centre
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
    z, y, x = (-centre).tolist()
    return Template(name, density, voxel_size, float(mass_kda), symmetry, split, origin_offset_zyx=(z, y, x))


def template_from_molecule(
    name: str,
    molecule: Molecule,
    voxel_size: float,
    *,
    resolution: float = 12.0,
    mass_kda: float | None = None,
    symmetry: str = "C1",
    split: Split = "train",
    membrane: bool = False,
    b_factors: bool = False,
) -> Template:
    """A template whose density is a molecule's potential over ice, at the scale of all templates.

    ``mass_kda`` None takes the mass of the atoms. ``volts_per_unit`` tells what density 1.0 is by these atoms.
    """
    mass = molecule.mass_kda if mass_kda is None else mass_kda
    check_mass(name, mass)
    try:
        made = potential(molecule, voxel_size, sigma=sigma_of_resolution(resolution, voxel_size), b_factors=b_factors)
    except InputError as error:
        raise InputError(f"template {name}: {error}") from None
    scale = mass * DENSITY_PER_KDA / (made.volts.sum(dtype="float64") * voxel_size**3)
    z, y, x = (-made.centre_zyx).tolist()
    return Template(
        name,
        (made.volts * scale).astype("float32"),
        voxel_size,
        float(mass),
        symmetry,
        split,
        origin_offset_zyx=(z, y, x),
        membrane=membrane,
        volts_per_unit=made.integral / (molecule.mass_kda * DENSITY_PER_KDA),
    )
