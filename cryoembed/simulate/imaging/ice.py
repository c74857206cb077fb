"""How far the beam travels through ice in every pixel of a tilted image, and what comes through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.projection import project
from cryoembed.simulate.imaging.surroundings import reach_vox

Image = npt.NDArray[np.float32]
_STEEPEST = 0.05  # cosine beyond which no slab gets longer; nobody images there
_COARSE = 2  # ice is smooth: its paths are projected from voxels of twice the size


class Ice:
    """What the ice lets through, ``exp(-path / mean free path)``, at every tilt.

    Without a mask the sample is a slab as thick as the volume that goes on in all directions. A mask counts as
    continued beyond the volume's faces across the tilt axis, so that high tilts don't look through its side walls.

    Parameters
    ----------
    sample_mask
        (z, y, x) where ice is, or None for everywhere.
    threads, device
        As for `projection.project`.

    Raises
    ------
    InputError
        If the mask has another shape than the volume, or no ice.
    """

    def __init__(
        self,
        shape_zyx: tuple[int, ...],
        voxel_size: float,
        exposures: Exposures,
        sample_mask: npt.NDArray[np.bool_] | None = None,
        *,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        cosine = np.maximum(np.cos(np.deg2rad(exposures.tilts_deg)), _STEEPEST)
        self._mean_free_path = exposures.mean_free_path
        self._image_shape = (shape_zyx[1], shape_zyx[2])
        self._slab = shape_zyx[0] * voxel_size / cosine
        self._coarse: npt.NDArray[np.float32] | None = None
        if sample_mask is None:
            return
        if sample_mask.shape != tuple(shape_zyx):
            raise InputError(f"sample_mask has the shape {sample_mask.shape}, the density {tuple(shape_zyx)}")
        if not sample_mask.any():
            raise InputError("sample_mask holds no ice at all; give None for ice everywhere")
        if sample_mask.all():
            return
        blocks = _binned(sample_mask)
        pad = reach_vox(blocks.shape, exposures.tilts_deg)
        wide = np.pad(blocks, ((0, 0), (0, 0), (pad, pad)), mode="edge")
        paths = project(wide, exposures.tilts_deg, threads=threads, device=device, compensate=False)
        self._coarse = paths[:, :, pad : pad + blocks.shape[2]] * np.float32(_COARSE * voxel_size)

    def through(self, tilt: int) -> Image | float:
        """Share of the electrons that get through at a tilt: (y, u), or one number where it is the same everywhere."""
        if self._mean_free_path == 0:
            return 1.0
        if self._coarse is None:
            return float(np.exp(-self._slab[tilt] / self._mean_free_path))
        path = ndimage.affine_transform(
            self._coarse[tilt],
            np.full(2, 1 / _COARSE),
            offset=-(_COARSE - 1) / 2 / _COARSE,
            output_shape=self._image_shape,
            order=1,
            mode="nearest",
        )
        return np.asarray(np.exp(-path / np.float32(self._mean_free_path)), dtype=np.float32)


def _binned(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Share of ice in blocks of voxels; sides that don't divide are continued."""
    spare = [(0, -size % _COARSE) for size in mask.shape]
    padded = np.pad(mask, spare, mode="edge")
    total = np.zeros([size // _COARSE for size in padded.shape], dtype=np.float32)
    for z, y, x in np.ndindex(_COARSE, _COARSE, _COARSE):
        total += padded[z::_COARSE, y::_COARSE, x::_COARSE]
    return np.asarray(total / _COARSE**3, dtype=np.float32)
