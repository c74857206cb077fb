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
