"""Label volumes with known answers, and the maps a good network would give for them."""

from __future__ import annotations

import edt
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.segmentation import find_boundaries

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


def balls(shape: tuple[int, int, int], centres: list[tuple[float, float, float]], radii: list[float]) -> np.ndarray:
    """Balls numbered from 1; where two overlap the nearer surface wins."""
    labels, best = np.zeros(shape, dtype=np.int32), np.full(shape, np.inf)
    for label, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        depth = np.sqrt(((np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0)) - radius
        nearer = (depth <= 0) & (depth < best)
        labels[nearer], best[nearer] = label, depth[nearer]
    return labels


def shell(size: int, inner: float, outer: float, *, open_above: float | None = None) -> np.ndarray:
    """One hollow ball in the middle of a cube; without its caps beyond ``open_above`` voxels from the middle plane."""
    grid = np.indices((size,) * 3) - size // 2
    radius = np.sqrt((grid**2).sum(axis=0))
    body = (radius >= inner) & (radius <= outer)
    if open_above is not None:
        body &= np.abs(grid[0]) <= open_above
    return body.astype(np.int32)


def foam(cells: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Cells that fill a cube without a gap."""
    points = generator.uniform(0, size, (cells, 3))
    _, nearest = cKDTree(points).query(np.indices((size,) * 3).reshape(3, -1).T)
    return (nearest + 1).reshape((size,) * 3).astype(np.int32)


def maps(labels: np.ndarray, generator: np.random.Generator, noise: float = 0.0) -> Maps:
    """Distance in voxels, boundary and foreground probabilities, with smooth noise."""

    def disturbed(values: np.ndarray, amount: float) -> np.ndarray:
        if not noise:
            return values.astype(np.float32)
        field = gaussian_filter(generator.normal(size=labels.shape), 1.0, mode="wrap")
        return (values + amount * noise * field / field.std()).astype(np.float32)

    distance = edt.edt(labels.astype(np.uint32), black_border=False)
    distance = np.minimum(distance, max(labels.shape))
    boundary = 0.15 + 0.7 * find_boundaries(labels, mode="inner")
    foreground = 0.1 + 0.8 * (labels > 0)
    return (
        disturbed(distance, 0.7),
        disturbed(boundary, 0.25).clip(0, 1),
        disturbed(foreground, 0.1).clip(0, 1),
    )
