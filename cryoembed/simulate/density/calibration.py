"""Any density -> a template: clipped, centred by mass, in a box that holds every rotation, scaled to its mass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Split, Template, check_mass


def calibrated(
    name: str,
    density: npt.NDArray[np.floating],
    voxel_size: float,
    mass_kda: float,
    *,
    symmetry: str = "C1",
    split: Split = "train",
    box_vox: int | None = None,
) -> Template:
    """Make a template of any (z, y, x) density: clip, centre by mass, put in a box that holds every rotation, scale.

    Parameters
    ----------
    density
        Bright particle on a background near zero, any box; negative values are background and become 0. The template
        remembers where the box centre (index ``n // 2``) lay.
    box_vox
        Edge of the template's box; None takes the smallest odd box that holds the particle in any orientation.

    Raises
    ------
    InputError
        If nothing is positive, a value is no number, the mass is not positive, or the particle does not fit into ``box_vox``.
    """
    check_mass(name, mass_kda)
    clipped = np.clip(np.asarray(density, dtype=np.float64), 0, None)
    if not np.isfinite(clipped).all():
        raise InputError(f"template {name}: {(~np.isfinite(clipped)).sum()} voxels are no numbers; mend the map")
    if not clipped.sum() > 0:
        raise InputError(f"template {name}: the density has no positive mass; expected bright particles on zero")
    clipped[clipped < 0.02 * clipped.max()] = 0  # solvent noise far out would pull the centre and blow up the box
    offset = np.asarray(ndimage.center_of_mass(clipped))
    inside = np.argwhere(clipped > 0)
    # a spline shift spreads mass by a voxel or two
    needed = 2 * int(np.ceil(np.sqrt(((inside - offset) ** 2).sum(axis=1).max())) + 2) + 1
    size = needed if box_vox is None else box_vox
    if size < needed - 4:
        raise InputError(
            f"template {name}: a box of {size} voxels is smaller than the particle; give at least {needed}"
        )
    centred, centre = _resized(clipped, offset, size)
    centred *= mass_kda * DENSITY_PER_KDA / (centred.sum() * voxel_size**3)
    z, y, x = ((np.array(clipped.shape) // 2 - centre) * voxel_size).tolist()
    return Template(
        name,
        centred.astype(np.float32),
        voxel_size,
        float(mass_kda),
        symmetry,
        split,
        origin_offset_zyx=(z, y, x),
    )


def _resized(
    density: npt.NDArray[np.float64], centre: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shift ``centre`` to index ``size // 2`` of a cube, repeating until the centre of mass lies there."""
    for _ in range(4):
        offset = centre - size // 2
        moved = ndimage.affine_transform(density, np.ones(3), offset=offset, output_shape=(size,) * 3, order=3)
        moved = np.clip(moved, 0, None)
        residual = np.asarray(ndimage.center_of_mass(moved)) - size // 2
        if np.abs(residual).max() < 0.005:
            break
        centre = centre + residual
    return np.asarray(moved, dtype=np.float64), centre
