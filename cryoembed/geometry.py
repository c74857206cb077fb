"""Where things are: axis order, voxels and angstroms, RELION's centre, boxes and slices, binning.

Conventions live only here. Arrays are (z, y, x); points are (n, 3) in zyx order; positions are in angstrom with
voxel ``i`` centred at ``origin + i * voxel_size``; the centre of a box of ``n`` voxels is index ``n // 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (n, 3), zyx
Triple = tuple[float, float, float]
RelionCentre = Literal["n/2", "n/2-1"]

ORIGIN: Triple = (0.0, 0.0, 0.0)


def reverse_axes(points: npt.ArrayLike) -> Points:
    """Turn (n, 3) zyx points into xyz points, or back (the same operation)."""
    return np.ascontiguousarray(np.asarray(points, dtype=np.float64)[..., ::-1])


def voxel_to_angstrom(
    positions_zyx_vox: npt.ArrayLike, voxel_size: float, origin_zyx: Sequence[float] = ORIGIN
) -> Points:
    """Return positions in A of (fractional) voxel indices: ``origin + index * voxel_size``."""
    return np.asarray(positions_zyx_vox, dtype=np.float64) * voxel_size + np.asarray(origin_zyx, dtype=np.float64)


def angstrom_to_voxel(positions_zyx: npt.ArrayLike, voxel_size: float, origin_zyx: Sequence[float] = ORIGIN) -> Points:
    """Return fractional voxel indices of positions in A: the inverse of `voxel_to_angstrom`."""
    return (np.asarray(positions_zyx, dtype=np.float64) - np.asarray(origin_zyx, dtype=np.float64)) / voxel_size


def nearest_voxel(positions_zyx_vox: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Round fractional indices to the voxel that holds them; halves go up, on both sides of zero."""
    return np.floor(np.asarray(positions_zyx_vox, dtype=np.float64) + 0.5).astype(np.int64)


def centred_from_corner(
    positions_zyx: npt.ArrayLike, size_zyx_px: Sequence[int], pixel_size: float, centre: RelionCentre = "n/2"
) -> Points:
    """Positions in A from the tomogram's centre, as RELION 5 writes them (``rlnCenteredCoordinate?Angst``).

    Parameters
    ----------
    positions_zyx
        (n, 3) positions in A in the parent frame.
    size_zyx_px
        The *unbinned* tomogram size in pixels (``rlnTomoSizeZ/Y/X``).
    pixel_size
        The unbinned pixel size in A (``rlnTomoTiltSeriesPixelSize``).
    centre
        RELION disagrees with itself: its C++ code takes ``n/2``, its Python pickers ``n/2 - 1``.
    """
    return np.asarray(positions_zyx, dtype=np.float64) - _relion_centre(size_zyx_px, pixel_size, centre)


def corner_from_centred(
    centred_zyx: npt.ArrayLike, size_zyx_px: Sequence[int], pixel_size: float, centre: RelionCentre = "n/2"
) -> Points:
    """The inverse of `centred_from_corner`."""
    return np.asarray(centred_zyx, dtype=np.float64) + _relion_centre(size_zyx_px, pixel_size, centre)


def binned_origin(factor: int, fine_voxel_size: float, origin_zyx: Sequence[float] = ORIGIN) -> Triple:
    """Origin (A) of a volume binned by averaging: coarse voxel j is centred at ``(b j + (b - 1) / 2)`` fine voxels."""
    shift = (factor - 1) / 2 * fine_voxel_size
    z, y, x = (float(value) + shift for value in origin_zyx)
    return (z, y, x)


def box_start(centre_zyx_vox: npt.ArrayLike, box_vox: int) -> npt.NDArray[np.int64]:
    """First voxel of a box whose index ``box // 2`` is the voxel nearest to the centre; may be negative."""
    return nearest_voxel(centre_zyx_vox) - box_vox // 2


def box_slices(
    start_zyx: Sequence[int], box_zyx: Sequence[int], shape_zyx: Sequence[int]
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]] | None:
    """Slices (in the volume, in the box) of the part of a box that lies inside the volume; None if nothing does.

    ``box[inside_box] = volume[inside_volume]`` then copies every voxel to its place, at borders too.
    """
    inside_volume, inside_box = [], []
    for start, box, size in zip(start_zyx, box_zyx, shape_zyx, strict=True):
        low, high = max(int(start), 0), min(int(start) + int(box), int(size))
        if high <= low:
            return None
        inside_volume.append(slice(low, high))
        inside_box.append(slice(low - int(start), high - int(start)))
    return (inside_volume[0], inside_volume[1], inside_volume[2]), (inside_box[0], inside_box[1], inside_box[2])


def _relion_centre(size_zyx_px: Sequence[int], pixel_size: float, centre: RelionCentre) -> Points:
    half = np.asarray(size_zyx_px, dtype=np.float64) / 2
    return (half - 1 if centre == "n/2-1" else half) * pixel_size
