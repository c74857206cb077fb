"""Vectors and particles with a known answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoembed.particles import Particles
from cryoembed.store import EmbeddingStore, StoreKey


def key(**changes: object) -> StoreKey:
    values = {"model_hash": "a" * 16, "model_name": "toy", "box_angstrom": 320.0, "box_vox": 32, "dim": 8}
    return StoreKey.model_validate(values | changes)


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def blobs(
    sizes: list[int], dim: int = 8, spread: float = 0.05, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, their class, and orthogonal class directions."""
    generator = np.random.default_rng(seed)
    directions = np.linalg.qr(generator.normal(size=(dim, dim)))[0][: len(sizes)]
    classes = np.repeat(np.arange(len(sizes)), sizes)
    return unit(directions[classes] + generator.normal(size=(len(classes), dim)) * spread), classes, directions


def particles(tomogram: str, n: int, seed: int = 0) -> Particles:
    positions = np.random.default_rng(seed).permutation(max(n, 1) * 8)[:n, None] * np.array([[300.0, 300.0, 300.0]])
    return Particles.from_arrays(tomogram, positions, label=[""] * n, volume=np.full(n, 1e6))


def filled(path: Path, n: int = 6, names: tuple[str, ...] = ("a", "b")) -> EmbeddingStore:
    store = EmbeddingStore.create(path, key())
    for seed, name in enumerate(names):
        store.add(name, blobs([n], seed=seed)[0], particles(name, n, seed))
    return store
