"""Class scores against numbers counted by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cryoembed.errors import InputError
from cryoembed.evaluate.classification import score_classes

TRUTH = ["a", "a", "a", "a", "b", "b", "c"]
SAID = ["a", "a", "b", "x", "b", "a", "b"]


def test_scores_are_those_counted_by_hand() -> None:
    score = score_classes(SAID, TRUTH)
    a, b, c = (score.per_class[name] for name in "abc")
    assert (a.n, a.precision, a.recall, a.f1) == (4, pytest.approx(2 / 3), 0.5, pytest.approx(4 / 7))
    assert (b.n, b.precision, b.recall, b.f1) == (2, pytest.approx(1 / 3), 0.5, pytest.approx(2 / 5))
    assert (c.n, c.precision, c.recall, c.f1) == (1, 0, 0, 0)
    assert score.macro_f1 == pytest.approx((4 / 7 + 2 / 5) / 3)
    assert score.accuracy == pytest.approx(3 / 7)
    assert list(score.per_class) == ["a", "b", "c"]
    assert score.mean_average_precision is None


def test_the_mean_f1_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, said = (np.array(list("abcd"))[rng.integers(0, 4, 200)] for _ in range(2))
    assert score_classes(said, truth).macro_f1 == pytest.approx(f1_score(truth, said, average="macro"))


def test_average_precision_ranks_each_class_against_the_rest() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])  # a: ranks 1 and 3; b: rank 2 of 3 by its own column
    score = score_classes(["a", "b", "a"], ["a", "a", "b"], scores=scores, classes=("a", "b"))
    assert score.per_class["a"].average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert score.per_class["b"].average_precision == pytest.approx(1 / 2)
    assert score.mean_average_precision == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_a_class_nobody_could_name_has_average_precision_zero() -> None:
    score = score_classes(["a", "a"], ["a", "b"], scores=[[1.0], [0.5]], classes=("a",))
    assert score.per_class["b"].average_precision == 0


@pytest.mark.parametrize(("said", "truth"), [([], []), (["a"], ["a", "b"])])
def test_labels_that_do_not_pair_are_refused(said: list[str], truth: list[str]) -> None:
    with pytest.raises(InputError, match="labels"):
        score_classes(said, truth)


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="scores of shape"):
        score_classes(["a"], ["a"], scores=[[1.0, 2.0]], classes=("a",))
