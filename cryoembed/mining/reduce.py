"""Vectors to two or three dimensions for looking at: PCA (exact) and UMAP (seeded, and it says what it sampled)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.store.exact import search

Vectors = npt.NDArray[np.float32]  # (n, d)

_PLACED_BY, _BLOCK = 5, 4096


class UmapConfig(Config):
    """UMAP's settings (McInnes, Healy and Melville 2018)."""

    n_neighbours: int = Field(15, ge=2)
    min_dist: float = Field(0.1, ge=0)
    components: int = Field(2, ge=1, le=3)
    max_rows: int = Field(
        50_000, ge=10, description="fitted on a random sample of so many; the others are placed after"
    )
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Reduced:
    """``coordinates`` (n, c) of every row, the rows that were ``fitted``, and a ``note`` on how for the figure."""

    coordinates: npt.NDArray[np.float32]
    fitted: npt.NDArray[np.int64]
    note: str


def pca(vectors: Vectors, components: int = 2) -> Reduced:
    """Principal components; each axis points so that its largest loading is positive: the same figure every time."""
    mean, chosen, share = principal_axes(vectors, components)
    array = np.asarray(vectors, dtype=np.float64)
    note = f"PCA of all {len(array)} particles, {share:.0%} of the variance"
    return Reduced(((array - mean) @ chosen).astype(np.float32), np.arange(len(array)), note)


def principal_axes(vectors: Vectors, components: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Mean (d,), axes (d, components) and their share of the variance of (n, d) vectors; signs as in `pca`.

    Raises
    ------
    InputError
        If there are fewer than two vectors, or fewer dimensions than components.
    """
    array = np.asarray(vectors, dtype=np.float64)
    n, dim = array.shape
    if n < 2 or components > dim:
        raise InputError(
            f"PCA to {components} axes needs at least 2 vectors of {components} dimensions, got {array.shape}"
        )
    mean = array.mean(axis=0)
    variance, axes = np.linalg.eigh((array - mean).T @ (array - mean) / n)
    chosen = axes[:, ::-1][:, :components]
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(components)])
    return mean, chosen, float(variance[::-1][:components].sum() / max(variance.sum(), 1e-12))


def umap(vectors: Vectors, config: UmapConfig | None = None) -> Reduced:
    """Seeded UMAP by cosine distance (the first call compiles for half a minute).

    Above ``max_rows`` it is fitted on a random sample, and the note says so; each other row is placed at the mean of
    its five nearest fitted rows (UMAP's own transform compiles for another minute and moves points by chance).
    """
    config = config or UmapConfig()
    n = len(vectors)
    if n < 5:
        raise InputError(f"UMAP needs at least 5 particles, got {n}")
    from umap import UMAP

    array = np.ascontiguousarray(vectors, dtype=np.float32)
    model = UMAP(
        n_neighbors=min(config.n_neighbours, n - 1),
        min_dist=config.min_dist,
        n_components=config.components,
        metric="cosine",
        init="spectral" if n > 50 else "random",
        random_state=config.seed,
        n_jobs=1,
    )
    if n <= config.max_rows:
        coordinates = np.asarray(model.fit_transform(array), dtype=np.float32)
        return Reduced(coordinates, np.arange(n), f"UMAP of all {n} particles")
    fitted = np.sort(np.random.default_rng(config.seed).choice(n, config.max_rows, replace=False))
    others = np.setdiff1d(np.arange(n), fitted)
    coordinates = np.zeros((n, config.components), dtype=np.float32)
    coordinates[fitted] = model.fit_transform(array[fitted])
    for start in range(0, len(others), _BLOCK):
        block = others[start : start + _BLOCK]
        _, nearest = search(array[fitted], array[block], _PLACED_BY)
        coordinates[block] = coordinates[fitted][nearest].mean(axis=1)
    return Reduced(
        coordinates,
        fitted,
        f"UMAP fitted on {len(fitted)} of {n} particles (random), the others placed by their neighbours",
    )
