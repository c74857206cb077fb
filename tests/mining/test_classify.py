"""Classifiers on vectors whose classes are plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.mining.classify import classify

EXAMPLES = np.array([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0]])
LABELS = ["far", "far", "up"]


def rings(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that no line separates: a disc within a ring."""
    radius, angle = np.repeat([0.5, 1.5], count) + rng.normal(0, 0.05, 2 * count), rng.uniform(0, 2 * np.pi, 2 * count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), np.repeat(["disc", "ring"], count)


def test_cosine_compares_directions_and_euclidean_places() -> None:
    vectors = np.array([[8.0, 3.0], [1.0, 1.2], [6.0, 7.0], [0.8, 0.1]])
    assert list(classify(vectors, EXAMPLES, LABELS, kind="cosine").labels) == ["far", "up", "up", "far"]
    assert list(classify(vectors, EXAMPLES, LABELS, kind="euclidean").labels) == ["far", "up", "far", "far"]


def test_neighbour_scores_are_likeness_to_the_nearest_example_of_each_class() -> None:
    found = classify([[3.0, 4.0]], EXAMPLES, LABELS, kind="cosine")
    assert found.classes == ("far", "up")
    np.testing.assert_allclose(found.scores, [[max(0.6, 34 / (5 * np.sqrt(101))), 0.8]], rtol=1e-5)
    found = classify([[0.0, 3.0]], EXAMPLES, LABELS, kind="euclidean")
    np.testing.assert_allclose(found.scores, [[-np.sqrt(10), -2]], rtol=1e-5)


def test_the_perceptron_learns_what_no_line_separates_and_says_how_sure_it_is() -> None:
    rng = np.random.default_rng(0)
    examples, labels = rings(60, rng)
    vectors, truth = rings(40, rng)
    found = classify(vectors, examples, list(labels), kind="mlp")
    assert (found.labels == truth).mean() > 0.97
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, atol=1e-5)
    assert found.scores.shape == (80, 2)


def test_the_same_seed_gives_the_same_probabilities() -> None:
    examples, labels = rings(20, np.random.default_rng(1))
    first, second, other = (classify(examples, examples, list(labels), kind="mlp", seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.scores, second.scores)
    assert not np.array_equal(first.scores, other.scores)


def test_no_vectors_give_no_labels() -> None:
    assert classify(np.zeros((0, 2)), EXAMPLES, LABELS, kind="mlp").scores.shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "examples", "labels", "kind", "said"),
    [
        ([[1.0, 0.0]], np.zeros((0, 2)), [], "cosine", "at least one"),
        ([[1.0, 0.0]], EXAMPLES, ["a"], "cosine", "labels"),
        ([[1.0, 0.0, 0.0]], EXAMPLES, LABELS, "cosine", "dimensions"),
        ([[1.0, 0.0]], EXAMPLES, ["a", "a", "a"], "mlp", "two classes"),
    ],
)
def test_what_cannot_be_learnt_is_named(
    vectors: list, examples: np.ndarray, labels: list, kind: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        classify(vectors, examples, labels, kind=kind)
