"""Spectral clustering of up to a few thousand weighted points, with the number of clusters by the eigengap if asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NEIGHBOURS = (
    2,
    7,
)  # which neighbour's distance is a point's own scale: the 7th (Zelnik-Manor and Perona 2004), fewer of few


def spectral_clusters(
    points: npt.NDArray[np.float32],
    n_clusters: int | None = None,
    *,
    weights: npt.ArrayLike | None = None,
    max_clusters: int = 30,
    seed: int = 0,
) -> npt.NDArray[np.int64]:
    """Normalised spectral clustering (Ng, Jordan and Weiss 2001) with locally scaled affinities.

    Parameters
    ----------
    points
        (m, d); memory grows with m^2.
    n_clusters
        None takes the largest gap between neighbouring eigenvalues, up to ``max_clusters``.
    weights
        (m,) how many particles each point stands for: affinities are multiplied by both weights, as if every point were
        there so many times.

    Returns
    -------
    (m,) labels from 0.
    """
    m = len(points)
    if m <= 2 or n_clusters == 1 or n_clusters == m:
        return (
            np.zeros(m, dtype=np.int64) if n_clusters in (1, None) else np.arange(m, dtype=np.int64) % (n_clusters or 1)
        )
    values, vectors = _eigen(affinities(points, weights), min(m, max(n_clusters or 0, max_clusters) + 1))
    count = n_clusters or eigengap(values)
    if count == 1:
        return np.zeros(m, dtype=np.int64)
    from sklearn.cluster import KMeans

    rows = vectors[:, :count]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    labels = KMeans(count, n_init=10, random_state=seed).fit(rows).labels_
    return np.asarray(labels, dtype=np.int64)


def affinities(points: npt.NDArray[np.float32], weights: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
    """(m, m) ``w_i w_j exp(-d_ij^2 / (s_i s_j))`` with s the distance to a near neighbour; the diagonal is in."""
    array = np.asarray(points, dtype=np.float64)
    squares = np.square(array).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares[None, :] - 2 * array @ array.T, 0)
    np.fill_diagonal(squared, 0)
    # a group of few centroids has no seventh neighbour of its own: its scale would be the distance to the next group
    kth = min(int(np.clip(len(array) // 20, *_NEIGHBOURS)), len(array) - 1)
    scale = np.sqrt(np.partition(squared, kth, axis=1)[:, kth])
    scale = np.maximum(scale, 1e-6)
    affinity = np.exp(-squared / (scale[:, None] * scale[None, :]))
    if weights is not None:
        weight = np.asarray(weights, dtype=np.float64)
        affinity *= weight[:, None] * weight[None, :]
    return np.asarray(affinity)


def eigengap(values: npt.NDArray[np.float64]) -> int:
    """Number of clusters: where the eigenvalues of the Laplacian (ascending) make their largest step."""
    return int(np.argmax(np.diff(values))) + 1 if len(values) > 1 else 1


def _eigen(affinity: npt.NDArray[np.float64], count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Smallest ``count`` eigenvalues of the normalised Laplacian and their vectors; dense, hence reproducible."""
    from scipy.linalg import eigh

    root = np.sqrt(affinity.sum(axis=1))
    normalised = affinity / (root[:, None] * root[None, :])
    m = len(normalised)
    values, vectors = eigh(normalised, subset_by_index=(m - count, m - 1))
    return 1 - values[::-1], vectors[:, ::-1]
