"""Which instances lie inside the sample: what the network sees in the emptiness around it is no particle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.instances.measure import mean_scores


def keep_inside(
    labels: npt.NDArray[np.int32], inside: npt.NDArray[Any], *, threshold: float = 0.5
) -> npt.NDArray[np.int32]:
    """Drop the instances outside of the lamella (thesis, section 5.3.2), in place, and number the others from 1.

    Parameters
    ----------
    labels
        (z, y, x) instances 1..n, 0 = background.
    inside
        (z, y, x) probability of being inside the sample; may be a memory map. An instance is as far inside as its
        voxels are in the mean.
    """
    counts = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    keep = mean_scores(labels, inside, counts) >= threshold
    keep[0] = False
    table = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    for index in range(len(labels)):
        labels[index] = table[labels[index]]
    return labels
