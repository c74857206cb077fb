"""From a label volume to a table of particles: where each instance is, how large, how sure."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from cryoembed import geometry
from cryoembed.particles import Particles

BOUNDING_BOX = ("bz0", "by0", "bx0", "bz1", "by1", "bx1")  # voxels of the label volume, half-open
_SLAB_VOXELS = 8_000_000


def measure(
    labels: npt.NDArray[Any],
    voxel_size: float,
    *,
    tomogram: str,
    origin: geometry.Triple = geometry.ORIGIN,
    score_map: npt.NDArray[Any] | None = None,
) -> Particles:
    """Measure every instance of a label volume.

    Parameters
    ----------
    labels
        (z, y, x) integers, 0 is background.
    voxel_size, origin
        A; the frame of the label volume, in which voxel i is centred at ``origin + i * voxel_size``.
    tomogram
        The name written into the table.
    score_map
        (z, y, x), for instance the foreground probability; an instance's score is its mean.

    Returns
    -------
    Particles
        In order of label: the centroid (A, parent frame), ``instance`` the label, ``volume`` in A^3, ``score``
        (1 without a map), and the bounding box ``bz0 by0 bx0 bz1 by1 bx1`` in voxels, half-open.
    """
    if not labels.size or not int(labels.max()):
        return Particles.empty()
    statistics = cc3d.statistics(np.ascontiguousarray(labels), no_slice_conversion=True)
    counts = np.asarray(statistics["voxel_counts"], dtype=np.int64)
    ids = np.flatnonzero(counts[1:]) + 1
    centroids = np.asarray(statistics["centroids"], dtype=np.float64)[ids]
    boxes = np.asarray(statistics["bounding_boxes"], dtype=np.int64)[ids]  # z first, last inclusive, y, ...
    edges = np.concatenate([boxes[:, 0::2], boxes[:, 1::2] + 1], axis=1).astype(np.int32)
    scores = np.ones(len(ids)) if score_map is None else mean_scores(labels, score_map, counts)[ids]
    return Particles.from_arrays(
        tomogram,
        geometry.voxel_to_angstrom(centroids, voxel_size, origin),
        instance=ids.astype(np.int32),
        volume=(counts[ids] * voxel_size**3).astype(np.float32),
        score=scores.astype(np.float32),
        **dict(zip(BOUNDING_BOX, edges.T, strict=True)),
    )


def mean_scores(
    labels: npt.NDArray[Any], score_map: npt.NDArray[Any], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(n,) mean of a map over each label, given the voxels that each has; 0 where there are none."""
    totals = np.zeros(len(counts))
    thickness = max(1, _SLAB_VOXELS // (labels.shape[1] * labels.shape[2]))
    for start in range(0, labels.shape[0], thickness):
        part = labels[start : start + thickness]
        inside = part > 0
        totals += np.bincount(part[inside], score_map[start : start + thickness][inside], len(counts))
    return totals / np.maximum(counts, 1)
