"""Voxel embeddings as colours: like voxels look alike, whatever the network was told (CryoSiam thesis, chapter 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.mining.reduce import principal_axes
from cryoembed.plot.image import CLIP_PERCENTILES, Grey, to_grey

_FITTED = 50_000  # voxels, evenly spread: three axes of some tens of dimensions need no more
_GAP = 4  # white pixels between the halves of a picture


def embedding_rgb(embedding: npt.NDArray[Any], z: int) -> Grey:
    """One slice of an embedding volume in red, green and blue: its first three principal components.

    Parameters
    ----------
    embedding
        (c, z, y, x) of any float type, often a memory map, of which a regular subset of at most 50,000 voxels (about)
        and one slice are read. The axes are those of the whole volume, so that slices of it can be compared; their signs
        are fixed (the largest loading is positive).
    z
        Slice.

    Returns
    -------
    (y, x, 3) uint8, each colour stretched between the 0.5th and the 99.5th percentile of the fitted voxels.

    Raises
    ------
    InputError
        If there are fewer than three dimensions, or the slice lies outside.
    """
    if embedding.ndim != 4 or embedding.shape[0] < 3:
        raise InputError(f"expected an embedding (c, z, y, x) with c of 3 or more, got shape {embedding.shape}")
    channels, depth, height, width = embedding.shape
    if not 0 <= z < depth:
        raise InputError(f"slice {z} lies outside the volume (0..{depth - 1})")
    step = max(1, int(np.ceil((depth * height * width / _FITTED) ** (1 / 3))))
    inner = tuple(slice(min(step // 2, (size - 1) // 2), None, step) for size in (depth, height, width))
    fitted = np.asarray(embedding[(slice(None), *inner)], dtype=np.float32).reshape(channels, -1).T
    mean, axes, _ = principal_axes(fitted, 3)
    low, high = np.percentile((fitted - mean) @ axes, CLIP_PERCENTILES, axis=0)
    plane = np.asarray(embedding[:, z], dtype=np.float32).reshape(channels, -1).T
    scaled = ((plane - mean) @ axes - low) / np.maximum(high - low, 1e-12)
    return np.asarray(np.clip(scaled, 0, 1) * 255 + 0.5, dtype=np.uint8).reshape(height, width, 3)


def embedding_picture(volume: npt.NDArray[Any], embedding: npt.NDArray[Any], z: int) -> Grey:
    """(y, 2 x + gap, 3): a slice of a (z, y, x) volume in grey and of its embedding in colour; y grows upwards."""
    colours = embedding_rgb(embedding, z)
    grey = np.repeat(to_grey(volume[z])[..., None], 3, axis=2)
    gap = np.full((len(grey), _GAP, 3), 255, dtype=np.uint8)
    return np.ascontiguousarray(np.concatenate([grey, gap, colours], axis=1)[::-1])
