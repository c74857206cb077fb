"""One kind of particle as density on a grid: calibrated to its mass, centred on its centre of mass, ready to rotate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.rotations import matrices_zyx
from cryoembed.simulate.density.spline import affine_cubic

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Split = Literal["train", "validation", "test"]

# A^3 of protein per kDa (0.81 Da / A^3, i.e. 1.35 g / cm^3): the integral of a template over space is
# mass_kda * DENSITY_PER_KDA, so that well-resolved protein has density 1 whatever the voxel size.
DENSITY_PER_KDA = 1000 / 0.81
MASK_THRESHOLD = 0.3  # of the mass-weighted mean density: close to the molecular envelope at 10 A
_PLUG = 60.0  # A: largest radius of the ball that marks the centre of a hollow particle as its own


@dataclass(frozen=True, eq=False)
class Template:
    """A species: density, mass and symmetry.

    Parameters
    ----------
    name
        The label its particles carry.
    density
        (n, n, n) float32, zyx, bright particle on zero background; its centre of mass is at index ``n // 2`` and its
        sum times ``voxel_size ** 3`` is ``mass_kda * DENSITY_PER_KDA``. `calibrated` makes any density so.
    voxel_size
        A.
    mass_kda
        Mass of what the density holds.
    symmetry
        Point group (Schoenflies): C1, C7, D2, O, ...
    split
        Whether networks may see this species in training.
    origin_offset_zyx
        A: from the template's centre to the origin of the frame it came in (a map's box centre, a PDB file's origin).
    membrane
        Whether the species sits in a membrane: the membrane's mid-plane then goes through that origin, its normal is z.
    volts_per_unit
        Electrostatic potential over ice of density 1.0, by the atoms themselves (about `materials.PROTEIN_POTENTIAL`);
        None for maps and phantoms, which know nothing of volts.

    Raises
    ------
    InputError
        If the box is not a cube, mass or voxel size is not positive, or the integral is off by over 2 %.
    """

    name: str
    density: Volume
    voxel_size: float
    mass_kda: float
    symmetry: str = "C1"
    split: Split = "train"
    origin_offset_zyx: tuple[float, float, float] = (0.0, 0.0, 0.0)
    membrane: bool = False
    volts_per_unit: float | None = None

    def __post_init__(self) -> None:
        if self.density.ndim != 3 or len(set(self.density.shape)) != 1:
            raise InputError(f"template {self.name}: expected a cubic box, got {self.density.shape}")
        check_mass(self.name, self.mass_kda)
        if not (np.isfinite(self.voxel_size) and self.voxel_size > 0):
            raise InputError(f"template {self.name}: voxel size {self.voxel_size} A is not positive")
        ratio = self.integral / (self.mass_kda * DENSITY_PER_KDA)
        if not abs(ratio - 1) < 0.02:
            raise InputError(
                f"template {self.name}: integral is {ratio:.3g} of mass x {DENSITY_PER_KDA:.0f}; use calibrated()"
            )

    @property
    def box_vox(self) -> int:
        """Edge of the cubic box."""
        return int(self.density.shape[0])

    @property
    def integral(self) -> float:
        """Density integrated over space, A^3."""
        return float(self.density.sum(dtype=np.float64)) * self.voxel_size**3

    @cached_property
    def interior(self) -> float:
        """Mass-weighted mean density: what an average bit of mass sees around itself."""
        density = self.density.astype(np.float64)
        return float((density**2).sum() / density.sum())

    def mask(self, threshold: float = MASK_THRESHOLD) -> Mask:
        """Voxels above ``threshold`` times the interior density, and a plug where these leave the centre empty."""
        centre = self.box_vox // 2
        return occupied(self.density, self.interior * threshold, (centre, centre, centre), self.voxel_size)

    @cached_property
    def radius(self) -> float:
        """A: distance from the centre to the farthest voxel of the mask."""
        offsets = np.argwhere(self.mask()) - self.box_vox // 2
        return float(np.sqrt((offsets**2).sum(axis=1).max())) * self.voxel_size

    @cached_property
    def spline(self) -> Volume:
        """Cubic B-spline coefficients of the density (computed once; every rotation reads them)."""
        return np.asarray(ndimage.spline_filter(self.density, order=3, output=np.float32, mode="grid-constant"))


def check_mass(name: str, mass_kda: float) -> None:
    """Raise an `InputError` unless the mass is a positive number."""
    if not (np.isfinite(mass_kda) and mass_kda > 0):
        raise InputError(f"template {name}: mass {mass_kda} kDa is not positive; give mass_kda")


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


def rotate(
    template: Template,
    rotation: Rotation,
    subvoxel_shift_zyx: npt.ArrayLike = (0.0, 0.0, 0.0),
    *,
    order: Literal[1, 3] = 3,
) -> Volume:
    """The template's density in the tomogram's frame.

    Parameters
    ----------
    rotation
        Particle frame to tomogram frame, acting on xyz: a feature at ``r`` (xyz, from the centre) lands at
        ``rotation.apply(r)``.
    subvoxel_shift_zyx
        Voxels: the centre of mass lands at index ``n // 2 + shift``.
    order
        3 cubic spline, 1 linear.

    Returns
    -------
    (n, n, n) float32
    """
    matrix = matrices_zyx(rotation)[0]
    centre = np.full(3, template.box_vox // 2, dtype=np.float64)
    offset = centre - matrix.T @ (centre + np.asarray(subvoxel_shift_zyx, dtype=np.float64))
    if order == 3:
        return affine_cubic(template.spline, matrix.T, offset)
    turned = ndimage.affine_transform(
        template.density, matrix.T, offset=offset, order=order, mode="grid-constant", output=np.float32
    )
    return np.asarray(turned, dtype=np.float32)


def occupied(density: Volume, level: float, centre_zyx_vox: tuple[int, int, int], voxel_size: float) -> Mask:
    """Voxels above ``level``; if the centre is hollow, a ball (to the walls, at most 60 A in radius) marks it.

    Scorers look up the truth at a particle's centre, so the centre must belong to the particle, and nothing else may
    be packed there.
    """
    mask = density > level
    if mask[centre_zyx_vox] or not mask.any():
        return mask
    z, y, x = (np.arange(size) - at for size, at in zip(mask.shape, centre_zyx_vox, strict=True))
    squared = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    reach = min(float(squared[mask].min()), (_PLUG / voxel_size) ** 2)
    return np.asarray(mask | (squared <= reach), dtype=np.bool_)


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
