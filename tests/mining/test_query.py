from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from cryoembed.errors import InputError
from cryoembed.mining.query import (
    Hits,
    QueryConfig,
    build_reference,
    expand_reference,
    near,
    prototypes,
    rank_hits,
    score_by_examples,
)
from cryoembed.mining.space import fit_space
from cryoembed.particles import Particles
from tests.store.planted import blobs, particles, unit


def _score_of_rows(hits: Hits, n: int) -> np.ndarray:
    scores = np.full(n, np.nan)
    scores[hits.rows] = hits.scores
    return scores


@pytest.mark.parametrize("space", ["raw", "centred", "whitened"])
def test_planted_clusters_come_back_with_their_label_and_average_precision_one(space: str) -> None:
    vectors, classes, directions = blobs([30, 20, 10, 40])
    names = ["ribosome", "proteasome", "fas"]
    examples = unit(np.repeat(directions[:3], 3, axis=0) + np.random.default_rng(1).normal(size=(9, 8)) * 0.05)
    hits = score_by_examples(vectors, examples, np.repeat(names, 3).tolist(), QueryConfig(space=space))  # type: ignore[arg-type]
    assert (np.diff(hits.scores) <= 0).all()
    assert sorted(hits.rows) == list(range(100))
    assert (np.abs(hits.scores) <= 1).all()
    for label, name in enumerate(names):
        found = np.zeros(100, dtype=object)
        found[hits.rows] = hits.labels
        assert (found[classes == label] == name).all()
        scores = np.where(found == name, _score_of_rows(hits, 100), -2)
        assert average_precision_score(classes == label, scores) == pytest.approx(1)


def test_one_example_is_enough_and_ranks_its_own_vector_first() -> None:
    vectors, classes, _ = blobs([30, 30])
    hits = score_by_examples(vectors, vectors[7], ["a"])
    assert hits.rows[0] == 7
    assert (classes[hits.rows[:30]] == 0).all()
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)


def test_parts_are_ranked_like_the_whole() -> None:
    vectors, _, directions = blobs([30, 30, 30])
    whole = score_by_examples(vectors, directions[:2], ["a", "b"])
    parts = score_by_examples([vectors[:13], vectors[:0], vectors[13:]], directions[:2], ["a", "b"])
    np.testing.assert_allclose(_score_of_rows(whole, 90), _score_of_rows(parts, 90), atol=1e-5)


def test_negatives_push_down_what_resembles_them_and_nothing_else() -> None:
    vectors, classes, directions = blobs([30, 30, 30], spread=0.02)
    example = unit(directions[0] + directions[1])  # an ambiguous pick: as near to class 1 as to class 0
    config = QueryConfig(space="raw")
    without = _score_of_rows(score_by_examples(vectors, example, ["a"], config), 90)
    hits = score_by_examples(vectors, example, ["a"], config, negatives=directions[1][None])
    with_negatives = _score_of_rows(hits, 90)
    assert average_precision_score(classes == 0, without) < 0.9
    assert average_precision_score(classes == 0, with_negatives) == pytest.approx(1)
    assert (with_negatives[classes == 1] < without[classes == 1] - 0.4).all()
    np.testing.assert_allclose(with_negatives[classes == 2], without[classes == 2], atol=0.06)


def test_a_class_of_two_looks_needs_two_prototypes() -> None:
    members, looks, _ = blobs([20, 20], spread=0.05)
    found = prototypes(members, QueryConfig())
    assert found.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for look in (0, 1):
        assert (found @ members[looks == look].mean(axis=0)).max() > 0.95
    assert prototypes(members[:9], QueryConfig()).shape == (1, 8)
    assert prototypes(np.repeat(members[:1], 30, axis=0), QueryConfig()).shape == (1, 8)


def _average_precision(hits: Hits, wanted: np.ndarray) -> float:
    return float(average_precision_score(wanted, _score_of_rows(hits, len(wanted))))


def test_best_hits_that_join_help_a_common_class_and_drown_a_rare_one() -> None:
    vectors, classes, _ = blobs([40, 40, 3], spread=0.3)
    for label, better in ((0, True), (2, False)):
        wanted, gains = classes == label, []
        for example in vectors[wanted][:3]:
            alone, wide = (score_by_examples(vectors, example, ["a"], QueryConfig(expand=count)) for count in (0, 20))
            gains.append(_average_precision(wide, wanted) - _average_precision(alone, wanted))
        assert np.mean(gains) > 0.05 if better else np.mean(gains) < -0.05


def test_rows_join_the_class_they_are_likest_to_and_those_shown_do_not() -> None:
    vectors, classes, _ = blobs([10, 10], spread=0.1)
    examples, labels, config = vectors[[0, 10]], ["a", "b"], QueryConfig(space="raw", expand=4)
    reference = build_reference(examples, labels, fit_space([vectors], kind="raw"), config)
    shown = np.isin(np.arange(20), [0, 10])
    parts = [vectors[:5], vectors[5:5], vectors[5:]]
    found = expand_reference(reference, parts, config, shown=shown)
    for index in (0, 1):
        members = vectors[classes == index]
        nearest = np.argsort(-members @ members[0])[:5]  # the example, and four more
        np.testing.assert_allclose(found.prototypes[index], unit(members[nearest].mean(0, keepdims=True)), atol=1e-5)
        np.testing.assert_allclose(found.joined[index], (members @ members[0])[nearest[1:]], atol=1e-5)
    whole = expand_reference(reference, [vectors], config, shown=shown)
    np.testing.assert_allclose(np.concatenate(found.prototypes), np.concatenate(whole.prototypes), atol=1e-6)
    none = expand_reference(reference, [vectors], config, shown=np.ones(20, dtype=bool))
    assert [len(scores) for scores in none.joined] == [0, 0]
    np.testing.assert_allclose(np.concatenate(none.prototypes), examples, atol=1e-6)


def test_neither_strangers_nor_what_is_like_a_negative_join() -> None:
    vectors, classes, directions = blobs([4, 4, 4], spread=0.05)
    config = QueryConfig(space="raw", expand=20)
    hits = score_by_examples(vectors, vectors[0], ["a"], config, negatives=directions[1:2])
    assert 4 <= len(hits.joined["a"]) < 12
    assert min(hits.joined["a"]) > 0
    assert (classes[hits.rows[:4]] == 0).all()
    scores = _score_of_rows(hits, 12)
    assert scores[classes == 0].min() > 0.5 > 0.1 > scores[classes == 1].max()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 5), st.integers(0, 99), st.integers(0, 50))
def test_scores_are_cosines_and_every_row_appears_once(n: int, m: int, k: int, seed: int, expand: int) -> None:
    generator = np.random.default_rng(seed)
    vectors, examples = unit(generator.normal(size=(n, 5))), unit(generator.normal(size=(m, 5)))
    negatives = unit(generator.normal(size=(k, 5))) if k else None
    labels = [f"c{value}" for value in generator.integers(0, 3, size=m)]
    config = QueryConfig(expand=expand)
    first, again = (score_by_examples(vectors, examples, labels, config, negatives=negatives) for _ in range(2))
    assert sorted(first.rows) == list(range(n))
    assert np.isfinite(first.scores).all()
    assert (np.abs(first.scores) <= 1).all()
    assert set(first.labels) <= set(labels)
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_no_examples_or_another_dimension_are_refused() -> None:
    vectors = blobs([30])[0]
    with pytest.raises(InputError, match="no examples"):
        score_by_examples(vectors, np.zeros((0, 8)), [])
    with pytest.raises(InputError, match="5 dimensions"):
        score_by_examples(vectors, np.ones((1, 5)), ["a"])
    with pytest.raises(InputError, match="2 example vectors but 1 labels"):
        score_by_examples(vectors, vectors[:2], ["a"])


def _hits(scores: list[float], labels: list[str]) -> Hits:
    order = np.argsort(-np.array(scores), kind="stable")
    return Hits(order, np.array(labels, dtype=object)[order], np.array(scores, dtype=np.float32)[order])


def test_of_two_hits_at_one_place_the_better_stays_across_classes_but_not_across_tomograms() -> None:
    picks = Particles.from_arrays(["t", "t", "t", "u"], [[0, 0, 0], [0, 0, 50], [0, 0, 500], [0, 0, 0]])
    found = rank_hits(_hits([0.6, 0.9, 0.5, 0.4], ["a", "b", "a", "a"]), picks, radius=100)
    assert found.rows.tolist() == [1, 2, 3]
    assert found.labels.tolist() == ["b", "a", "a"]
    assert found.skipped == {"within 100 A of a better hit": 1}


def test_top_counts_survivors_of_each_class_and_min_score_is_kept_to() -> None:
    picks = particles("t", 6)
    scored = _hits([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], ["a", "a", "b", "a", "b", "b"])
    assert rank_hits(scored, picks, radius=10, top=2).rows.tolist() == [0, 1, 2, 4]
    assert rank_hits(scored, picks, radius=10, top=2).skipped == {"beyond the best 2": 2}
    found = rank_hits(scored, picks, radius=10, min_score=0.6)
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.skipped == {"below --min-score 0.6": 2}
    assert len(rank_hits(scored, picks, radius=10, min_score=2.0)) == 0


def test_examples_can_be_left_out() -> None:
    leave_out = np.array([True, False, False])
    found = rank_hits(_hits([0.9, 0.8, 0.7], ["a"] * 3), particles("t", 3), radius=10, leave_out=leave_out)
    assert found.rows.tolist() == [1, 2]
    assert found.skipped == {"that are examples": 1}


def test_near_is_a_closed_ball() -> None:
    positions = [[0.0, 0, 0], [0, 0, 10], [0, 0, 10.1]]
    assert near(positions, [[0.0, 0, 0]], 10).tolist() == [True, True, False]
    assert near(positions, np.zeros((0, 3)), 10).tolist() == [False] * 3
