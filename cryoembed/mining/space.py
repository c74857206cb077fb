"""The space in which vectors are compared: as stored, centred on the data set, or centred and mildly whitened.

Embeddings of one data set share a large common direction (every box is a tomogram box) and a few directions of nuisance
(thickness, wedge), so raw cosines are all high and rank badly. Centring removes the first, whitening shrinks the
second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]  # (n, d)
SpaceKind = Literal["raw", "centred", "whitened"]

MIN_ROWS = 20  # below, a data set's mean says more about its few particles than about what they share


@dataclass(frozen=True, eq=False)
class Space:
    """``apply``: subtract ``mean`` (d,), multiply by ``transform`` (d, d) if any, normalise."""

    kind: SpaceKind
    mean: npt.NDArray[np.float32]
    transform: npt.NDArray[np.float32] | None = None

    def apply(self, vectors: npt.ArrayLike) -> Vectors:
        """(n, d) vectors in this space, of length 1 (a vector that equals the mean becomes 0)."""
        array = np.asarray(vectors, dtype=np.float32)
        if self.kind == "raw":
            return normalise(array)
        moved = array - self.mean
        return normalise(moved if self.transform is None else moved @ self.transform)


def fit_space(parts: Iterable[Vectors], *, kind: SpaceKind = "whitened", shrinkage: float = 0.9) -> Space:
    """Learn a space from a data set, given in parts (one per tomogram, memory-mapped).

    Parameters
    ----------
    parts
        (n_i, d) arrays.
    kind
        ``raw`` compares vectors as they are, ``centred`` after subtracting the mean, ``whitened`` after scaling each
        principal axis by ``1 / sqrt((1 - s) variance + s mean variance)`` as well.
    shrinkage
        The s above: 1 is centring only, 0 full whitening, which also blows up the axes that hold nothing but noise.

    Returns
    -------
    Space
        ``raw`` if there are fewer than 20 vectors.
    """
    n, total, outer = 0, None, None
    for part in parts:
        if len(part) == 0:
            continue
        array = np.asarray(part, dtype=np.float64)
        n += len(array)
        total = array.sum(axis=0) if total is None else total + array.sum(axis=0)
        if kind == "whitened":
            outer = array.T @ array if outer is None else outer + array.T @ array
    if total is None or n < MIN_ROWS or kind == "raw":
        dim = 0 if total is None else len(total)
        return Space("raw", np.zeros(dim, dtype=np.float32))
    mean = total / n
    if outer is None:
        return Space("centred", mean.astype(np.float32))
    variance, axes = np.linalg.eigh(outer / n - np.outer(mean, mean))
    variance = np.maximum(variance, 0)
    shrunk = (1 - shrinkage) * variance + shrinkage * variance.mean()
    if shrunk.min() <= 1e-12:
        return Space("centred", mean.astype(np.float32))
    return Space("whitened", mean.astype(np.float32), (axes / np.sqrt(shrunk)).astype(np.float32))


def normalise(vectors: npt.NDArray[Any]) -> Vectors:
    """Rows of length 1; rows of length 0 stay 0."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
