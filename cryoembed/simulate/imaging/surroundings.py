"""What lies beyond the volume's sides across the tilt axis, where tilted images look: the sample goes on.

Without it, the outer columns of tilted images would show less and less of a crowded sample, and be too bright.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_WIDEST = 3  # how many times its length a volume is continued at most, on either side
_STEEPEST = 0.05  # cosine beyond which no tilt looks further


def reach_vox(shape_zyx: tuple[int, ...], tilts_deg: npt.ArrayLike) -> int:
    """How far beyond a volume's sides the rays through the borders of its tilted images go, in voxels."""
    cosine = max(float(np.cos(np.deg2rad(np.abs(tilts_deg).max()))), _STEEPEST)
    reach = shape_zyx[2] / 2 * (1 / cosine - 1) + shape_zyx[0] / 2 * np.sqrt(1 / cosine**2 - 1)
    return int(np.ceil(min(reach, _WIDEST * shape_zyx[2]))) + 1


class Mirrored:
    """A volume (z, y, x) that goes on beyond its sides in x as in a mirror; made row by row, when a row is read.

    Parameters
    ----------
    extra_vox
        How far, on either side; the centre (index ``n // 2``) stays the same voxel.
    """

    ndim = 3

    def __init__(self, volume_zyx: npt.NDArray[Any], extra_vox: int) -> None:
        self._volume, self._extra = volume_zyx, extra_vox
        depth, height, length = volume_zyx.shape
        self.shape = (depth, height, length + 2 * extra_vox)

    def __getitem__(self, key: tuple[slice, slice]) -> npt.NDArray[Any]:
        """Whole rows: ``[:, rows]``."""
        return np.asarray(np.pad(self._volume[key], ((0, 0), (0, 0), (self._extra, self._extra)), mode="symmetric"))
