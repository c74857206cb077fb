import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from cryoembed.errors import InputError
from cryoembed.evaluate.clustering import score_clusters
from cryoembed.evaluate.retrieval import average_precision, mean_average_precision
from cryoembed.evaluate.segmentation import dice, dice_per_class, score_instances


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_average_precision_with_ties_equals_scikit_learn(items):
    relevant, scores = np.array([*items, (True, 2)]).T
    assert average_precision(relevant.astype(bool), scores) == pytest.approx(
        average_precision_score(relevant.astype(bool), scores)
    )


def test_average_precision_of_a_known_ranking():
    assert average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([1, 0, 1, 0], [4, 3, 2, 1], n_relevant=4) == pytest.approx((1 + 2 / 3) / 4)


def test_a_constant_score_is_worth_the_share_of_relevant_items():
    assert average_precision([1, 0, 0, 0], [7, 7, 7, 7]) == 0.25


def test_nothing_relevant_is_worth_nothing():
    assert average_precision([0, 0], [1, 2]) == 0
    assert average_precision([], []) == 0


def test_a_query_s_own_row_is_no_answer():
    similarities = [[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]]
    labels = ["a", "a", "b"]
    score = mean_average_precision(similarities, labels, labels, query_rows=[0, 1, 2])
    assert (score.mean_average_precision, score.per_class, score.n_queries, score.n_skipped) == (1, {"a": 1.0}, 2, 1)


def test_clusters_that_are_the_classes_score_one_under_any_names():
    score = score_clusters([7, 7, -1, -1], ["a", "a", "b", "b"])
    assert (score.nmi, score.ari, score.purity) == pytest.approx((1, 1, 1))


def test_one_cluster_of_everything_scores_zero_and_the_commonest_class():
    score = score_clusters([0, 0, 0, 0], ["a", "a", "a", "b"])
    assert (score.nmi, score.ari, score.purity) == pytest.approx((0, 0, 0.75))


def test_items_of_unknown_class_are_left_out():
    score = score_clusters([0, 0, 1, 1], ["a", "", "b", ""])
    assert (score.n, score.n_unknown, score.purity) == (2, 2, 1)
    with pytest.raises(InputError, match="known class"):
        score_clusters([0], [""])
    with pytest.raises(InputError, match="aligned"):
        score_clusters([0], ["a", "b"])


def test_dice_of_known_overlaps():
    a, b = np.zeros((1, 1, 4), int), np.zeros((1, 1, 4), int)
    a[..., :2], b[..., 1:3] = 1, 1
    assert dice(a, b) == 0.5
    assert dice(a * 0, b * 0) == 1
    assert dice_per_class(a, 2 * b) == {1: 0.0, 2: 0.0}


def test_instances_are_matched_by_overlap_at_each_threshold():
    truth, predicted = np.zeros((1, 2, 12), int), np.zeros((1, 2, 12), int)
    truth[..., :6], truth[..., 6:] = 1, 2
    predicted[..., :4], predicted[..., 4:5], predicted[..., 6:] = 9, 8, 3  # IoU 2/3, 1/6, 1
    loose, strict = score_instances(predicted, truth, thresholds=(0.5, 0.75))
    assert (loose.tp, loose.fp, loose.fn, loose.average_precision) == (2, 1, 0, pytest.approx(2 / 3))
    assert loose.mean_iou == pytest.approx((2 / 3 + 1) / 2)
    assert (strict.tp, strict.fp, strict.fn) == (1, 2, 1)


def test_no_instances_against_some_is_zero_and_against_none_is_one():
    empty, full = np.zeros((2, 2, 2), int), np.ones((2, 2, 2), int)
    assert score_instances(empty, full)[0].average_precision == 0
    assert score_instances(empty, empty)[0].average_precision == 1


def test_volumes_of_different_shape_are_refused():
    with pytest.raises(InputError, match="shape"):
        dice(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)))
