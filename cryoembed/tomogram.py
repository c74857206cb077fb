"""A tomogram: a zyx array (often memory-mapped), one voxel size, a name, and where it lies in its parent frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed import geometry
from cryoembed.errors import InputError


@dataclass(frozen=True, eq=False)
class Tomogram:
    """A volume with its physical frame.

    Parameters
    ----------
    data
        (z, y, x) array of any real dtype; a memory map is kept as it is.
    voxel_size
        A per voxel, one number for all axes.
    name
        What picks call it: the file's stem unless given.
    origin
        A, zyx: the centre of voxel 0 in the parent frame. Positions in and out are in the parent frame.

    Raises
    ------
    InputError
        If the array is not 3D or has an empty axis, or the voxel size is not a positive number.
    """

    data: npt.NDArray[Any] = field(repr=False)
    voxel_size: float
    name: str
    origin: geometry.Triple = geometry.ORIGIN

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise InputError(f"{self.name}: expected a 3D volume (z, y, x), got shape {self.data.shape}")
        if not (np.isfinite(self.voxel_size) and self.voxel_size > 0):
            raise InputError(f"{self.name}: voxel size {self.voxel_size} A is not positive; pass --voxel-size")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) size in voxels."""
        z, y, x = self.data.shape
        return (z, y, x)

    @property
    def size_angstrom(self) -> geometry.Triple:
        """(z, y, x) size in A."""
        z, y, x = (size * self.voxel_size for size in self.shape)
        return (z, y, x)

    def to_voxel(self, positions_zyx: npt.ArrayLike) -> geometry.Points:
        """Fractional voxel indices of (n, 3) positions in A."""
        return geometry.angstrom_to_voxel(positions_zyx, self.voxel_size, self.origin)

    def to_angstrom(self, positions_zyx_vox: npt.ArrayLike) -> geometry.Points:
        """Positions in A of (n, 3) fractional voxel indices."""
        return geometry.voxel_to_angstrom(positions_zyx_vox, self.voxel_size, self.origin)

    def contains(self, positions_zyx: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(n,) whether the voxel nearest to each position lies inside the volume."""
        nearest = geometry.nearest_voxel(np.atleast_2d(self.to_voxel(positions_zyx)))
        inside: npt.NDArray[np.bool_] = np.all((nearest >= 0) & (nearest < np.asarray(self.shape)), axis=-1)
        return inside
