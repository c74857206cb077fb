"""Clusters without labels: k-means over all vectors, then spectral clustering on its centroids or inside its parts.

k-means++ on a subsample starts FAISS's iterations: without it they end in worse minima.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.mining.spectral import eigengap, landmark_embedding
from cryoembed.store.index import lloyd

Vectors = npt.NDArray[np.float32]  # (n, d)
Labels = npt.NDArray[np.int64]

_SEED_SAMPLE = 10_000
_PER_LANDMARK = 5  # a centroid stands for so many particles at least
_PER_PART = 50  # and a part for so many: fewer are not worth splitting


class ClusterConfig(Config):
    """Two steps of clustering.

    ``centroids``: spectral clustering through ``k`` centroids. ``parts``: k-means into ``k`` parts, each of which is
    split by spectral clustering (CryoSiam). ``off``: k-means into ``n_clusters``.
    """

    k: int = Field(200, ge=1, description="centroids, or parts; lowered by itself where particles are few")
    n_clusters: int | None = Field(None, ge=1, description="in all; for `parts` in each part; None: by the eigengap")
    spectral: Literal["centroids", "parts", "off"] = "centroids"
    iterations: int = Field(25, ge=1)
    attempts: int = Field(4, ge=1, description="k-means starts; the one with the lowest inertia is kept")
    max_clusters: int = Field(30, ge=2, description="most clusters the eigengap may choose")
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of n vectors; cluster 0 is the largest.

    ``labels`` (n,), ``medoids`` (c,) the row with the least summed squared distance to its cluster, ``sizes`` (c,),
    ``parts`` (n,) the k-means cell of each row, ``inertia`` of the k-means step.
    """

    labels: Labels
    medoids: Labels
    sizes: Labels
    parts: Labels
    inertia: float

    def __len__(self) -> int:
        return len(self.sizes)


def cluster(vectors: Vectors, config: ClusterConfig | None = None) -> Clusters:
    """Cluster (n, d) vectors of length 1; the same vectors and seed give the same labels.

    Raises
    ------
    InputError
        If there are fewer vectors than clusters asked for.
    """
    config = config or ClusterConfig()
    wanted = max(config.n_clusters or 2, 1)
    if len(vectors) < max(wanted, 2):
        raise InputError(
            f"{len(vectors)} particles cannot make {wanted} clusters; lower --clusters or index more tomograms"
        )
    if config.spectral == "centroids":
        labels, parts, inertia = _through_centroids(vectors, config)
    elif config.spectral == "parts":
        labels, parts, inertia = _inside_parts(vectors, config)
    else:
        count = config.n_clusters or min(config.k, len(vectors))
        labels, _, inertia = _kmeans(vectors, count, config)
        parts = labels
    labels = by_size(labels)
    return Clusters(labels, medoids(vectors, labels), np.bincount(labels), by_size(parts), inertia)


def kmeans(
    vectors: Vectors, k: int, *, iterations: int = 25, attempts: int = 4, seed: int = 0
) -> tuple[Labels, Vectors, float]:
    """k-means++ on a subsample of 10,000, then Lloyd iterations over all; the best of several starts.

    Returns
    -------
    labels (n,), centroids (k, d), inertia.
    """
    from sklearn.cluster import kmeans_plusplus

    if len(vectors) < k:
        raise InputError(f"{len(vectors)} vectors cannot make {k} clusters")
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    generator = np.random.default_rng(seed)
    best: tuple[Labels, Vectors, float] | None = None
    for _ in range(attempts):
        sample = array
        if len(array) > max(_SEED_SAMPLE, k):
            sample = array[generator.choice(len(array), max(_SEED_SAMPLE, k), replace=False)]
        start, _rows = kmeans_plusplus(sample, k, random_state=int(generator.integers(2**31 - 1)))
        centroids, labels, inertia = lloyd(array, start.astype(np.float32), iterations=iterations, seed=seed)
        if best is None or inertia < best[2]:
            best = labels, centroids, inertia
    if best is None:
        raise ValueError("attempts must be at least 1")
    return best


def medoids(vectors: Vectors, labels: Labels) -> Labels:
    """Per cluster the row with the least summed squared distance to the others: the one nearest to their mean."""
    rows = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    for label in range(len(rows)):
        members = np.flatnonzero(labels == label)
        inside = np.asarray(vectors[members], dtype=np.float64)
        rows[label] = members[np.square(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    return rows


def by_size(labels: Labels) -> Labels:
    """Renumber: 0 is the largest cluster; ties go to the one whose first row comes first; empty ones vanish."""
    names, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse.reshape(-1)]


def _kmeans(vectors: Vectors, k: int, config: ClusterConfig) -> tuple[Labels, Vectors, float]:
    return kmeans(vectors, k, iterations=config.iterations, attempts=config.attempts, seed=config.seed)


def _through_centroids(vectors: Vectors, config: ClusterConfig) -> tuple[Labels, Labels, float]:
    """Cluster labels, k-means cells and inertia."""
    n, wanted = len(vectors), config.n_clusters or 2
    k = min(n, max(wanted, min(config.k, n // _PER_LANDMARK), 10))
    # centroids need to cover the data, not to be the best ones: one start will do
    cells, centroids, inertia = kmeans(vectors, k, iterations=config.iterations, attempts=1, seed=config.seed)
    if config.n_clusters == 1:
        return np.zeros(n, dtype=np.int64), cells, inertia
    components = min(k, max(config.n_clusters or 0, config.max_clusters) + 1)
    values, coordinates = landmark_embedding(vectors, centroids, components)
    count = config.n_clusters or eigengap(values, config.max_clusters)
    rows = coordinates[:, :count]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # Ng, Jordan and Weiss (2001), step 4
    return kmeans(rows.astype(np.float32), count, attempts=2 * config.attempts, seed=config.seed)[0], cells, inertia


def _inside_parts(vectors: Vectors, config: ClusterConfig) -> tuple[Labels, Labels, float]:
    parts, _, inertia = _kmeans(vectors, min(config.k, max(1, len(vectors) // _PER_PART)), config)
    labels = np.zeros(len(parts), dtype=np.int64)
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        count = config.n_clusters if config.n_clusters is None else min(config.n_clusters, len(members))
        if len(members) >= 2:
            inside = config.model_copy(update={"n_clusters": count})
            found = _through_centroids(np.ascontiguousarray(vectors[members]), inside)[0]
            labels[members] = labels.max() + 1 + found
        else:
            labels[members] = labels.max() + 1
    return labels, parts, inertia
