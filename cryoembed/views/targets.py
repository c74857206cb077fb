"""What the instance head learns, from a volume of instance ids: distance, boundary, foreground (thesis, 3.2.2)."""

from __future__ import annotations

from typing import NamedTuple

import edt
import numpy as np
import numpy.typing as npt


class InstanceTargets(NamedTuple):
    """Targets of equations 13-15, each (z, y, x).

    Attributes
    ----------
    distance
        float32: how deep a voxel lies in its instance, 1 at the deepest voxel of *each* instance, 0 outside. Relative,
        so that small particles have seeds as high as large ones; walls of hollow shells have their own ridge.
    boundary
        bool: voxels of an instance with a face neighbour of another id or of background, one voxel thin.
    foreground
        bool: voxels of any instance.
    """

    distance: npt.NDArray[np.float32]
    boundary: npt.NDArray[np.bool_]
    foreground: npt.NDArray[np.bool_]


def instance_targets(ids: npt.NDArray[np.integer]) -> InstanceTargets:
    """Make the targets of a whole labelled volume (crop afterwards: an instance cut by a crop keeps its depths).

    Parameters
    ----------
    ids
        (z, y, x) instance ids, 0 = background. Never interpolated.
    """
    labels = np.ascontiguousarray(ids, dtype=np.uint32)
    foreground = labels > 0
    # the multi-label transform counts from the voxel's own label to any other, so touching instances stay apart
    depth = np.asarray(edt.edt(labels, black_border=False, parallel=1), dtype=np.float32)
    depth[~np.isfinite(depth)] = 0
    # a volume filled by a single instance has no "other" to measure from
    deepest = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    np.maximum.at(deepest, labels[foreground], depth[foreground])
    distance = np.zeros_like(depth)
    distance[foreground] = depth[foreground] / np.maximum(deepest[labels[foreground]], 1e-6)
    return InstanceTargets(distance, _boundary(labels) & foreground, foreground)


def _boundary(labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    boundary = np.zeros(labels.shape, dtype=np.bool_)
    for axis in range(3):
        before, after = [slice(None)] * 3, [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        differs = labels[tuple(before)] != labels[tuple(after)]
        boundary[tuple(before)] |= differs
        boundary[tuple(after)] |= differs
    return boundary
