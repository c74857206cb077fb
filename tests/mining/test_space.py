from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.mining.space import fit_space, normalise
from tests.store.planted import unit


def _anisotropic(seed: int, common: float = 2.0, nuisance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """13 classes and background that share a large direction and vary mostly along six nuisance axes."""
    generator = np.random.default_rng(seed)
    dim, classes, each = 128, 13, 40
    mean = unit(generator.normal(size=dim)) * common
    centres = generator.normal(size=(classes, dim)) / np.sqrt(dim) * 1.2
    axes = np.linalg.qr(generator.normal(size=(dim, 6)))[0].T * 0.8 * nuisance
    labels = np.concatenate([np.repeat(np.arange(classes), each), np.full(150, -1)])
    offsets = np.where(labels[:, None] >= 0, centres[labels], 0)
    noise = generator.normal(size=(len(labels), dim)) / np.sqrt(dim)
    return unit(mean + offsets + generator.normal(size=(len(labels), 6)) @ axes + noise), labels


def _mean_average_precision(vectors: np.ndarray, labels: np.ndarray, kind: str) -> float:
    from sklearn.metrics import average_precision_score

    moved = fit_space([vectors], kind=kind).apply(vectors)  # type: ignore[arg-type]
    results = []
    for label in range(labels.max() + 1):
        examples = np.flatnonzero(labels == label)[:5]
        scores = moved @ normalise(moved[examples].mean(axis=0))
        others = np.setdiff1d(np.arange(len(labels)), examples)
        results.append(average_precision_score(labels[others] == label, scores[others]))
    return float(np.mean(results))


def test_the_default_space_ranks_best_when_nuisance_dominates() -> None:
    vectors, labels = _anisotropic(0)
    raw, centred, whitened = (_mean_average_precision(vectors, labels, kind) for kind in ("raw", "centred", "whitened"))
    assert raw < centred < whitened
    assert whitened > raw + 0.1


def test_the_default_space_costs_nothing_when_vectors_are_isotropic() -> None:
    vectors, labels = _anisotropic(0, common=0, nuisance=0)
    assert _mean_average_precision(vectors, labels, "whitened") > _mean_average_precision(vectors, labels, "raw") - 0.01


def test_full_whitening_makes_every_direction_equal() -> None:
    vectors, _ = _anisotropic(1)
    space = fit_space([vectors], kind="whitened", shrinkage=0.0)
    assert space.transform is not None
    moved = (vectors - space.mean) @ space.transform
    np.testing.assert_allclose(moved.T @ moved / len(moved), np.eye(128), atol=5e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 60), st.integers(1, 19), st.sampled_from(["raw", "centred", "whitened"]))
def test_parts_give_the_same_space_as_the_whole(n: int, cut: int, kind: str) -> None:
    vectors = unit(np.random.default_rng(n).normal(size=(n, 6)) + 1)
    whole, parts = fit_space([vectors], kind=kind), fit_space([vectors[:cut], vectors[:0], vectors[cut:]], kind=kind)
    np.testing.assert_allclose(
        np.abs(whole.apply(vectors) @ whole.apply(vectors).T),
        np.abs(parts.apply(vectors) @ parts.apply(vectors).T),
        atol=1e-4,
    )


@pytest.mark.parametrize("kind", ["raw", "centred", "whitened"])
def test_everything_has_length_one_except_the_mean_itself(kind: str) -> None:
    vectors, _ = _anisotropic(2)
    space = fit_space([vectors], kind=kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.linalg.norm(space.apply(vectors), axis=1), 1, atol=1e-5)
    if kind != "raw":
        np.testing.assert_array_equal(space.apply(space.mean[None]), np.zeros((1, 128)))


def test_a_handful_of_vectors_or_identical_ones_stay_usable() -> None:
    few = unit(np.random.default_rng(0).normal(size=(5, 4)))
    assert fit_space([few]).kind == "raw"
    same = np.repeat(few[:1], 30, axis=0)
    assert np.isfinite(fit_space([same]).apply(few)).all()
    assert fit_space([]).kind == "raw"
