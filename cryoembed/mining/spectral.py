"""Spectral clustering of any number of points through a few hundred landmarks (Chen and Cai, AAAI 2011).

Every point is written as a mixture of its nearest landmarks (k-means centroids); two points are alike as far as their
mixtures are. The graph over n points then has rank k, and its eigenvectors cost a k x k problem: linear in n, where
spectral clustering of all pairs is quadratic. Landmarks that stand for many particles weigh more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cryoembed.store.exact import search

Vectors = npt.NDArray[np.float32]  # (n, d)
Floats = npt.NDArray[np.float64]

_NEIGHBOURS = 3  # landmarks per point; 2, 3 and 5 do alike on planted blobs
_BLOCK = 65_536  # points whose landmarks are looked up at once


def landmark_embedding(vectors: Vectors, landmarks: Vectors, components: int) -> tuple[Floats, Floats]:
    """Eigenvalues and point coordinates of the landmark graph.

    Parameters
    ----------
    vectors
        (n, d).
    landmarks
        (k, d), usually k-means centroids.
    components
        How many, at most k.

    Returns
    -------
    eigenvalues (c,) of the normalised affinity, 1 first, descending, and coordinates (n, c).
    """
    mixture = mixtures(vectors, landmarks)
    mass = np.asarray(mixture.sum(axis=0)).ravel()
    scaled = mixture @ sparse.diags(1 / np.sqrt(np.maximum(mass, 1e-12)))
    values, axes = np.linalg.eigh((scaled.T @ scaled).toarray())
    values, axes = np.maximum(values[::-1][:components], 0), axes[:, ::-1][:, :components]
    return values, np.asarray(scaled @ axes) / np.sqrt(np.maximum(values, 1e-12))


def mixtures(vectors: Vectors, landmarks: Vectors) -> sparse.csr_array:
    """(n, k) weights of each point's three nearest landmarks: Gaussian in distance, rows sum to 1."""
    n, k = len(vectors), len(landmarks)
    r = min(_NEIGHBOURS, k)
    # nearest in distance is highest in  x . c - |c|^2 / 2
    keys = np.column_stack([landmarks, -np.square(landmarks).sum(axis=1) / 2]).astype(np.float32)
    columns = np.zeros((n, r), dtype=np.int64)
    squared = np.zeros((n, r))
    for start in range(0, n, _BLOCK):
        block = np.asarray(vectors[start : start + _BLOCK], dtype=np.float32)
        scores, columns[start : start + _BLOCK] = search(keys, np.column_stack([block, np.ones(len(block))]), r)
        squared[start : start + _BLOCK] = np.square(block).sum(axis=1, keepdims=True) - 2 * scores
    squared = np.maximum(squared, 0)
    width = max(float(np.sqrt(squared).mean()), 1e-12)
    weights = np.exp(-(squared - squared[:, :1]) / (2 * width**2))
    weights /= weights.sum(axis=1, keepdims=True)
    return sparse.csr_array((weights.ravel(), columns.ravel(), np.arange(0, n * r + 1, r)), shape=(n, k))


def eigengap(values: Floats, most: int) -> int:
    """Number of clusters, 2 to ``most``: after which of the descending eigenvalues the largest step down comes."""
    steps = -np.diff(values[: most + 1])[1:]
    return int(np.argmax(steps)) + 2 if len(steps) else min(2, len(values))
