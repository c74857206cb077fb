"""Is the truth in one frame with itself? Checked before scoring: a cropped mask with a whole list gives scores too.

A published set of scores carries a mean distance of 165 voxels for this reason: masks cropped at slice 165, list not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed import geometry
from cryoembed.errors import InputError
from cryoembed.evaluate.shrec21 import truth_ids
from cryoembed.particles import Particles, is_particle
from cryoembed.tomogram import Tomogram

MIN_OWN_ID = 0.9  # 4v94 and rings may miss at their very centre
MAX_SHIFT_VOX = 3.0
MAX_DISTANCE_VOX = 8.0
RING_VOX = 2  # how far from the centre the own id may be found: rings are hollow in the middle


@dataclass(frozen=True)
class TruthCheck:
    """What was found: share of centres on their own id, and how far centres lie from their masks' centroids."""

    n_checked: int
    own_id_share: float
    median_distance_vox: float
    median_shift_zyx_vox: tuple[float, float, float]


def check_truth(truth: Particles, occupancy: Tomogram, *others: Tomogram) -> TruthCheck:
    """Check that list, occupancy mask and further volumes belong together.

    Vesicles, membranes and filaments (`particles.EXTENDED`) are left out: their positions and their masks' centroids
    are different things.

    Parameters
    ----------
    truth
        All placed objects of one tomogram (A, parent frame).
    occupancy
        The mask of ids; ``others`` (reconstruction, class mask) must share its shape, voxel size and origin.

    Raises
    ------
    InputError
        If there is no particle; shapes or frames differ; the mask holds ids that the list lacks; less than 90 % of the
        centres carry their own id (within two voxels: rings are hollow); or centres lie far from their masks'
        centroids. The message names the shift.
    """
    if not len(truth):
        raise InputError(f"{occupancy.name}: the truth holds no particles")
    for other in others:
        _same_frame(occupancy, other)
    ids = truth_ids(truth)
    sizes, centroids = _centroids(occupancy.data, int(ids.max()))
    solid = is_particle(truth.labels)
    if not solid.any():
        held = ", ".join(sorted(set(truth.labels.astype(str))))
        raise InputError(f"{occupancy.name}: the truth holds nothing but {held}; there is no particle to score")
    centres = occupancy.to_voxel(truth.positions_zyx)[solid]
    numbers = ids[solid]
    own = _own_id_nearby(occupancy.data, centres, numbers)
    present = sizes[numbers] > 0
    shifts = centroids[numbers[present]] - centres[present]
    shift = np.median(shifts, axis=0) if len(shifts) else np.full(3, np.nan)
    distance = float(np.median(np.linalg.norm(shifts, axis=1))) if len(shifts) else float("nan")
    z, y, x = (float(value) for value in shift)
    found = TruthCheck(len(numbers), float(own.mean()), distance, (z, y, x))
    if found.own_id_share < MIN_OWN_ID or distance > MAX_DISTANCE_VOX or np.abs(shift).max() > MAX_SHIFT_VOX:
        raise InputError(
            f"{occupancy.name}: list and occupancy mask do not belong together: {found.own_id_share:.0%} of "
            f"{found.n_checked} centres carry their own id (expected at least {MIN_OWN_ID:.0%}), masks lie a median of "
            f"({z:.1f}, {y:.1f}, {x:.1f}) voxels (z, y, x) from their centres; crop both alike or give the origin"
        )
    return found


def _same_frame(reference: Tomogram, other: Tomogram) -> None:
    if other.shape != reference.shape:
        raise InputError(f"{reference.name}: shapes differ: {reference.shape} and {other.shape}; crop all alike")
    if not np.isclose(other.voxel_size, reference.voxel_size, rtol=1e-3):
        raise InputError(
            f"{reference.name}: volumes differ in voxel size: {reference.voxel_size} A and {other.voxel_size} A"
        )
    if not np.allclose(other.origin, reference.origin, atol=0.01 * reference.voxel_size):
        raise InputError(f"{reference.name}: volumes differ in origin: {reference.origin} A and {other.origin} A")


def _own_id_nearby(
    occupancy: npt.NDArray[Any], centres_zyx_vox: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    width = 2 * RING_VOX + 1
    found = np.zeros(len(numbers), dtype=bool)
    for row, (centre, number) in enumerate(zip(centres_zyx_vox, numbers, strict=True)):
        slices = geometry.box_slices(geometry.box_start(centre, width).tolist(), (width,) * 3, occupancy.shape)
        found[row] = slices is not None and bool((occupancy[slices[0]] == number).any())
    return found


def _centroids(occupancy: npt.NDArray[Any], highest: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(ids + 1,) voxel counts and (ids + 1, 3) zyx centroids, slab by slab so that memory stays small."""
    counts = np.zeros(highest + 1)
    sums = np.zeros((highest + 1, 3))
    for z in range(occupancy.shape[0]):
        plane = np.asarray(occupancy[z])
        y, x = np.nonzero(plane)
        numbers = plane[y, x].astype(np.int64)
        if len(numbers) and (numbers.max() > highest or numbers.min() < 0):
            raise InputError(
                f"the occupancy mask holds id {numbers.max()}, the list ends at {highest}: not of one tomogram"
            )
        here = np.bincount(numbers, minlength=highest + 1)
        counts += here
        sums[:, 0] += z * here
        sums[:, 1] += np.bincount(numbers, weights=y, minlength=highest + 1)
        sums[:, 2] += np.bincount(numbers, weights=x, minlength=highest + 1)
    return counts.astype(np.int64), sums / np.maximum(counts, 1)[:, None]
