"""Cutting boxes out of a volume at particle positions, with or without what surrounds the particle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from cryoembed import geometry
from cryoembed.errors import InputError

Boxes = npt.NDArray[np.float32]  # (n, z, y, x)
Mask = npt.NDArray[np.bool_]  # (z, y, x)
MaskKind = Literal["none", "hull", "strict"]


def cut_boxes(
    volume_zyx: npt.NDArray[Any],
    centres_zyx_vox: npt.ArrayLike,
    box_vox: int,
    *,
    instances: npt.NDArray[Any] | None = None,
    ids: npt.ArrayLike | None = None,
    mask: MaskKind = "none",
    dilate_vox: float = 0.0,
    fill: float = 0.0,
) -> Boxes:
    """Cut cubic boxes whose index ``box // 2`` is the voxel nearest to each centre; nothing is interpolated.

    Parameters
    ----------
    volume_zyx
        (z, y, x), may be a memory map: only the boxes are read.
    centres_zyx_vox
        (n, 3) fractional voxel indices.
    box_vox
        Edge in voxels.
    instances, ids
        The label volume of the same shape, and each particle's label in it; without ``ids`` the label at the centre
        voxel is taken. Both are needed only for a mask. A particle with label 0, or whose label does not reach its
        box, is cut without a mask: a position given by hand need not be an instance.
    mask
        ``"none"`` keeps everything, ``"strict"`` only the instance's voxels, ``"hull"`` its convex hull (CryoSiam).
    dilate_vox
        Grow the mask by this many voxels.
    fill
        Grey value outside the volume and outside the mask; 0 is the mean of a prepared tomogram.

    Returns
    -------
    (n, box, box, box) float32.

    Raises
    ------
    InputError
        If a centre is not finite or its box lies wholly outside the volume, or a mask is asked for without instances.
    """
    centres = np.asarray(centres_zyx_vox, dtype=np.float64).reshape(-1, 3)
    labels = _labels(volume_zyx, centres, instances, ids, mask)
    boxes = np.full((len(centres), box_vox, box_vox, box_vox), fill, dtype=np.float32)
    for row, start in enumerate(_starts(centres, box_vox)):
        slices = geometry.box_slices(start, (box_vox,) * 3, volume_zyx.shape)
        if slices is None:
            raise InputError(
                f"particle {row}: its box of {box_vox} voxels at voxel {np.round(centres[row], 1).tolist()} (z, y, x) "
                f"lies outside the volume of {volume_zyx.shape}; are positions and tomogram "
                "in one frame (origin, binning)?"
            )
        inside_volume, inside_box = slices
        boxes[row][inside_box] = volume_zyx[inside_volume]
        if instances is None or mask == "none" or labels[row] <= 0:
            continue
        particle = np.zeros((box_vox,) * 3, dtype=bool)
        particle[inside_box] = instances[inside_volume] == labels[row]
        if particle.any():
            boxes[row][~particle_mask(particle, mask, dilate_vox=dilate_vox)] = fill
    return boxes


def iterate_boxes(
    volume_zyx: npt.NDArray[Any],
    centres_zyx_vox: npt.ArrayLike,
    box_vox: int,
    *,
    batch: int = 64,
    instances: npt.NDArray[Any] | None = None,
    ids: npt.ArrayLike | None = None,
    mask: MaskKind = "none",
    dilate_vox: float = 0.0,
    fill: float = 0.0,
) -> Iterator[Boxes]:
    """`cut_boxes` in batches of at most ``batch``, in order, so that memory stays bounded."""
    if batch < 1:
        raise ValueError(f"batch {batch}: expected at least 1")
    centres = np.asarray(centres_zyx_vox, dtype=np.float64).reshape(-1, 3)
    labels = None if ids is None else np.asarray(ids)
    for start in range(0, len(centres), batch):
        part = slice(start, start + batch)
        yield cut_boxes(
            volume_zyx,
            centres[part],
            box_vox,
            instances=instances,
            ids=None if labels is None else labels[part],
            mask=mask,
            dilate_vox=dilate_vox,
            fill=fill,
        )


def particle_mask(particle: Mask, mask: MaskKind, *, dilate_vox: float = 0.0) -> Mask:
    """Grow a particle's voxels to the mask that is asked for: all, its convex hull or itself, dilated."""
    if mask == "none":
        return np.ones_like(particle)
    grown = convex_hull(particle) if mask == "hull" else particle
    if dilate_vox <= 0:
        return grown
    import edt

    return np.asarray(edt.edt(np.ascontiguousarray(~grown), black_border=False) <= dilate_vox)


def convex_hull(particle: Mask) -> Mask:
    """Voxels whose centre lies in the convex hull of the particle's voxel centres; flat particles stay as they are."""
    points = np.argwhere(particle)
    if len(points) < 5:
        return particle
    try:
        hull = ConvexHull(points)
    except QhullError:  # all in one plane or line
        return particle
    low, high = points.min(axis=0), points.max(axis=0) + 1
    around = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    candidates = np.argwhere(~particle[around]) + low  # its own voxels need no test
    facets = np.unique(hull.equations.round(9), axis=0)  # Qhull cuts each flat face into triangles of one plane
    for normal_z, normal_y, normal_x, offset in facets:
        candidates = candidates[candidates @ (normal_z, normal_y, normal_x) + offset <= 1e-6]
    filled = particle.copy()
    filled[tuple(candidates.T)] = True
    return filled


def _starts(centres: npt.NDArray[np.float64], box_vox: int) -> npt.NDArray[np.int64]:
    if box_vox < 1:
        raise ValueError(f"box_vox {box_vox}: expected at least 1")
    if not np.isfinite(centres).all():
        row = int(np.flatnonzero(~np.isfinite(centres).all(axis=1))[0])
        raise InputError(f"particle {row}: its position {centres[row].tolist()} is not finite")
    return geometry.box_start(centres, box_vox)


def _labels(
    volume_zyx: npt.NDArray[Any],
    centres: npt.NDArray[np.float64],
    instances: npt.NDArray[Any] | None,
    ids: npt.ArrayLike | None,
    mask: MaskKind,
) -> npt.NDArray[np.int64]:
    if mask == "none":
        return np.zeros(len(centres), dtype=np.int64)
    if instances is None:
        raise InputError(f"mask {mask!r} needs the label volume of the instances; segment first or use mask none")
    if instances.shape != volume_zyx.shape:
        raise InputError(f"instances of shape {instances.shape} do not belong to a volume of shape {volume_zyx.shape}")
    if ids is not None:
        labels = np.asarray(ids, dtype=np.int64).reshape(-1)
        if len(labels) != len(centres):
            raise ValueError(f"{len(labels)} ids for {len(centres)} centres")
        return labels
    nearest = geometry.nearest_voxel(centres)
    inside = np.all((nearest >= 0) & (nearest < volume_zyx.shape), axis=1)
    labels = np.zeros(len(centres), dtype=np.int64)
    labels[inside] = instances[tuple(nearest[inside].T)]
    return labels
