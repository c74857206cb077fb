"""Naming particles by labelled examples: the thesis' two classifiers, nearest neighbour and a small perceptron.

Unlike a query, which ranks a store for a few examples, a classifier gives each vector exactly one of the known names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError

ClassifierKind = Literal["cosine", "euclidean", "mlp"]
HIDDEN = (256, 128)


@dataclass(frozen=True, eq=False)
class Classified:
    """What (n,) vectors were taken for.

    Attributes
    ----------
    labels
        (n,) strings.
    classes
        (c,) the names the columns of ``scores`` are of, sorted.
    scores
        (n, c), higher is surer. ``mlp``: probabilities that sum to 1. Nearest neighbour: the cosine to, or minus the
        distance from, the nearest example of each class, since with k = 1 a vote would be all or nothing.
    """

    labels: npt.NDArray[Any]
    classes: tuple[str, ...]
    scores: npt.NDArray[np.float32]


def classify(
    vectors: npt.ArrayLike,
    examples: npt.ArrayLike,
    labels: Sequence[str],
    *,
    kind: ClassifierKind = "cosine",
    seed: int = 0,
) -> Classified:
    """Give each vector the label of its best class.

    Parameters
    ----------
    vectors
        (n, d).
    examples, labels
        (m, d) and (m,): what is known.
    kind
        ``cosine``: nearest example, k = 1 (thesis, section 4.1). ``euclidean``: the same by distance, as for vectors
        that a contrastive loss of distances has refined (section 4.3.4); on vectors of length 1 both are the same.
        ``mlp``: three layers, 256, 128 and one output per class (section 4.1), by scikit-learn (Adam, 300 epochs at most).
    seed
        Of the perceptron's weights and batches.

    Raises
    ------
    InputError
        If there are no examples, counts or dimensions differ, or ``mlp`` is to learn a single class.
    """
    known, asked = np.asarray(examples, dtype=np.float32), np.asarray(vectors, dtype=np.float32)
    names = np.asarray([str(label) for label in labels], dtype=object)
    if known.ndim != 2 or not len(known) or len(names) != len(known):
        raise InputError(
            f"examples of shape {known.shape} and {len(names)} labels: expected (m, d) and m, at least one"
        )
    if asked.ndim != 2 or asked.shape[1] != known.shape[1]:
        raise InputError(f"vectors of shape {asked.shape}, examples of {known.shape}: expected as many dimensions")
    classes = tuple(sorted(set(names)))
    if not len(asked):
        return Classified(np.zeros(0, dtype=object), classes, np.zeros((0, len(classes)), dtype=np.float32))
    given = (asked, known, names, classes)
    scores = _perceptron(*given, seed) if kind == "mlp" else _nearest(*given, kind)
    return Classified(np.array(classes, dtype=object)[scores.argmax(axis=1)], classes, scores)


def _nearest(
    vectors: npt.NDArray[np.float32],
    examples: npt.NDArray[np.float32],
    names: npt.NDArray[Any],
    classes: tuple[str, ...],
    metric: str,
) -> npt.NDArray[np.float32]:
    from sklearn.metrics import pairwise_distances_argmin_min

    distances = [pairwise_distances_argmin_min(vectors, examples[names == name], metric=metric)[1] for name in classes]
    table = np.stack(distances, axis=1)
    return np.asarray(1 - table if metric == "cosine" else -table, dtype=np.float32)


def _perceptron(
    vectors: npt.NDArray[np.float32],
    examples: npt.NDArray[np.float32],
    names: npt.NDArray[Any],
    classes: tuple[str, ...],
    seed: int,
) -> npt.NDArray[np.float32]:
    from sklearn.neural_network import MLPClassifier

    if len(classes) < 2:
        raise InputError(f"all examples are of {classes[0]!r}: a perceptron needs two classes; take kind 'cosine'")
    network = MLPClassifier(HIDDEN, random_state=seed, max_iter=300)
    network.fit(examples, names.astype(str))
    return np.asarray(network.predict_proba(vectors), dtype=np.float32)
