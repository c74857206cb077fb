"""Clusters without labels: k-means over all vectors, then spectral clustering on its centroids or inside its parts.

Spectral clustering of all points costs n^2; of a few hundred centroids, weighted by their sizes, it costs nothing and
says nearly the same. k-means++ on a subsample starts FAISS's iterations: without it they end in worse minima.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.mining.spectral import spectral_clusters
from cryoembed.store.index import lloyd

Vectors = npt.NDArray[np.float32]  # (n, d)
Labels = npt.NDArray[np.int64]

_SEED_SAMPLE = 10_000
_PART_SAMPLE = 2_000  # points of a part that enter its spectral clustering; the others follow their nearest


class ClusterConfig(Config):
    """Two steps of clustering."""

    k: int = Field(100, ge=1, description="k-means centroids (spectral centroids) or parts (spectral parts)")
    n_clusters: int | None = Field(None, ge=1, description="final number; per part for `parts`; None: by the eigengap")
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
        If there are fewer vectors than clusters asked for. ``k`` is lowered by itself where the data are few: to n / 5
        for ``centroids``, so that a centroid stands for several particles.
    """
    config = config or ClusterConfig()
    n = len(vectors)
    wanted = config.n_clusters or 2
    if n < max(wanted, 2):
        raise InputError(f"{n} particles cannot make {wanted} clusters; lower --clusters or index more tomograms")
    if config.spectral == "off":
        k = config.n_clusters or min(config.k, n)
    elif config.spectral == "centroids":
        k = min(n, max(wanted, min(config.k, n // 5), min(n, 10)))
    else:
        k = min(config.k, max(1, n // 10))
    parts, centroids, inertia = kmeans(
        vectors, k, iterations=config.iterations, attempts=config.attempts, seed=config.seed
    )
    if config.spectral == "centroids":
        labels = _merge_cells(parts, centroids, config)
    elif config.spectral == "parts":
        labels = _split_parts(vectors, parts, config)
    else:
        labels = parts
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


def _merge_cells(parts: Labels, centroids: Vectors, config: ClusterConfig) -> Labels:
    sizes = np.bincount(parts, minlength=len(centroids))
    filled = np.flatnonzero(sizes)
    if config.n_clusters is not None and len(filled) < config.n_clusters:
        raise InputError(f"only {len(filled)} distinct groups of vectors for {config.n_clusters} clusters")
    merged = np.zeros(len(centroids), dtype=np.int64)
    merged[filled] = spectral_clusters(
        centroids[filled],
        config.n_clusters,
        weights=sizes[filled],
        max_clusters=config.max_clusters,
        seed=config.seed,
    )
    return merged[parts]


def _split_parts(vectors: Vectors, parts: Labels, config: ClusterConfig) -> Labels:
    labels = np.zeros(len(parts), dtype=np.int64)
    generator = np.random.default_rng(config.seed)
    offset = 0
    for part in range(int(parts.max()) + 1):
        members = np.flatnonzero(parts == part)
        if len(members) == 0:
            continue
        inside = np.ascontiguousarray(vectors[members])
        sample = np.arange(len(members))
        if len(members) > _PART_SAMPLE:
            sample = np.sort(generator.choice(len(members), _PART_SAMPLE, replace=False))
        wanted = None if config.n_clusters is None else min(config.n_clusters, len(sample))
        found = spectral_clusters(inside[sample], wanted, max_clusters=config.max_clusters, seed=config.seed)
        labels[members] = offset + found[(inside @ inside[sample].T).argmax(axis=1)]
        offset += int(found.max()) + 1
    return labels
