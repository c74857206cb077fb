"""What the heads learn, from truth volumes: distance, boundary, foreground; classes; inside or outside (thesis, 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import edt
import numpy as np
import numpy.typing as npt

from cryoembed.particles import FIDUCIAL, is_molecule
from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES

FULL_DEPTH = 50.0  # A from the background at which `semantic_distance` is 1: half a ribosome, most of a microtubule
_CLASS_OF = {"vesicle": "membrane", "mrna": "dna"}  # labels of the simulator that are named otherwise here


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


def semantic_classes(class_mask: npt.NDArray[np.integer], labels: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Class numbers of the semantic head (indices into `SEMANTIC_CLASSES`), from the simulator's class mask.

    Species and nucleosomes are particles, vesicles are membranes, mRNA goes with DNA (as the thesis has it, section
    4.3.2). Gold is `IGNORED`: it is none of the classes, and bright enough to be told from all of them.

    Parameters
    ----------
    class_mask
        (z, y, x): 0 background, else 1 + index into ``labels``.
    labels
        Names of the classes in the mask.

    Returns
    -------
    (z, y, x) uint8
    """
    mask = np.asarray(class_mask)
    numbers = np.full(max(len(labels), int(mask.max())) + 1, IGNORED, dtype=np.uint8)
    numbers[: len(labels) + 1] = [0, *(_class_number(label) for label in labels)]
    return np.asarray(numbers[mask], dtype=np.uint8)


def semantic_distance(classes: npt.NDArray[np.uint8], voxel_size: float) -> npt.NDArray[np.float32]:
    """(z, y, x) distance of every voxel from the nearest one of the background (equation 11), in `FULL_DEPTH`, at most 1.

    Bounded, so that its squared error is of the size of the other terms of equation 12 whatever the voxel size.
    """
    structures = np.ascontiguousarray(classes > 0)
    depth = np.asarray(edt.edt(structures, black_border=False, parallel=1), dtype=np.float32)
    return np.asarray(np.minimum(depth * np.float32(voxel_size / FULL_DEPTH), 1), dtype=np.float32)


def _class_number(label: str) -> int:
    name = str(label).strip().lower()
    if name == FIDUCIAL:
        return IGNORED
    return SEMANTIC_CLASSES.index("particle" if bool(is_molecule(name)[0]) else _CLASS_OF.get(name, name))


def _boundary(labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    boundary = np.zeros(labels.shape, dtype=np.bool_)
    for axis in range(3):
        before, after = [slice(None)] * 3, [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        differs = labels[tuple(before)] != labels[tuple(after)]
        boundary[tuple(before)] |= differs
        boundary[tuple(after)] |= differs
    return boundary
