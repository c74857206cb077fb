"""Two overlapping windows of one crop, and which voxels of one are which of the other (DenseSimSiam)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WindowPairs:
    """Where two windows of equal size lie in each crop, and their shared region in each one's own voxels.

    Attributes
    ----------
    starts_a, starts_b
        (n, 3) zyx first voxel in the crop.
    overlap_a, overlap_b
        (n, 3, 2) zyx ``[start, stop)`` of the shared region, in voxels of window a and of window b.
    """

    starts_a: Index
    starts_b: Index
    overlap_a: Index
    overlap_b: Index


def draw_window_pairs(
    count: int,
    crop_vox: int,
    window_vox: int,
    generator: np.random.Generator,
    *,
    min_overlap: float = 0.5,
    stride: int = 1,
) -> WindowPairs:
    """Draw pairs of windows inside cubic crops that share at least ``min_overlap`` of their volume.

    Parameters
    ----------
    crop_vox, window_vox
        Edges of crop and window; the room between them is how far windows can be apart.
    stride
        Windows are displaced by multiples of it, so that coarser pyramid levels correspond exactly, too.
    """
    room = (crop_vox - window_vox) // stride
    starts = generator.integers(0, room + 1, size=(2, count, 3))
    for _ in range(100):
        shared = np.prod(1 - np.abs(starts[0] - starts[1]) * stride / window_vox, axis=1)
        poor = np.flatnonzero(shared < min_overlap)
        if len(poor) == 0:
            break
        starts[:, poor] = generator.integers(0, room + 1, size=(2, len(poor), 3))
    else:
        starts[1, poor] = starts[0, poor]
    a, b = starts * stride
    low, high = np.maximum(a, b), np.minimum(a, b) + window_vox
    return WindowPairs(a, b, np.stack([low - a, high - a], axis=-1), np.stack([low - b, high - b], axis=-1))


def cut_windows(crops: Tensor, starts: Index, window_vox: int) -> Tensor:
    """Cut one cubic window per crop: (n, z, y, x) and (n, 3) first voxels to (n, window, window, window)."""
    return torch.stack([crop[_window(start, window_vox)] for crop, start in zip(crops, starts, strict=True)])


def _window(start: Index, size: int) -> tuple[slice, slice, slice]:
    z, y, x = (slice(int(s), int(s) + size) for s in start)
    return z, y, x
