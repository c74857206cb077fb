import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from cryoembed.errors import InputError
from cryoembed.evaluate.match import assign, greedy_hits


def clouds(most: int):
    return st.integers(0, most).flatmap(
        lambda n: hnp.arrays(np.float64, (n, 3), elements=st.floats(-20, 20, allow_nan=False, width=32))
    )


@settings(max_examples=60, deadline=None)
@given(clouds(12), clouds(12), st.floats(0.5, 30))
def test_pairs_are_one_to_one_and_never_exceed_the_radius(predicted, truth, radius):
    pairs = assign(predicted, truth, radius)
    assert len(set(pairs[:, 0])) == len(pairs) == len(set(pairs[:, 1]))
    assert np.all(np.linalg.norm(predicted[pairs[:, 0]] - truth[pairs[:, 1]], axis=1) <= radius)


@settings(max_examples=60, deadline=None)
@given(clouds(8), clouds(8), st.floats(0.5, 30))
def test_the_assignment_equals_one_hungarian_over_everything(predicted, truth, radius):
    pairs = assign(predicted, truth, radius)
    apart = np.linalg.norm(predicted[:, None] - truth[None], axis=-1)
    cost = np.where(apart <= radius, apart, 1e4)
    rows, columns = linear_sum_assignment(cost)
    best = cost[rows, columns]
    assert len(pairs) == (best <= radius).sum()
    assert apart[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(best[best <= radius].sum(), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(clouds(10), clouds(10), st.floats(0.5, 30), st.randoms(use_true_random=False))
def test_order_of_points_changes_neither_count_nor_total_distance(predicted, truth, radius, random):
    a, b = list(range(len(predicted))), list(range(len(truth)))
    random.shuffle(a)
    random.shuffle(b)
    total = []
    for left, right in ((predicted, truth), (predicted[a], truth[b])):
        pairs = assign(left, right, radius)
        total.append((len(pairs), np.linalg.norm(left[pairs[:, 0]] - right[pairs[:, 1]], axis=1).sum()))
    assert total[0][0] == total[1][0]
    assert total[0][1] == pytest.approx(total[1][1], abs=1e-6)


def test_more_pairs_beat_nearer_pairs():
    # the nearest-first choice (1 with 0) would leave pick 0 without a partner
    predicted = np.array([[0.0, 0, 0], [0, 0, 10]])
    truth = np.array([[0.0, 0, 9], [0, 0, 18]])
    assert assign(predicted, truth, 9.5).tolist() == [[0, 0], [1, 1]]


def test_a_pair_at_exactly_the_radius_counts():
    assert len(assign([[0.0, 0, 0]], [[0.0, 3, 4]], 5.0)) == 1
    assert len(assign([[0.0, 0, 0]], [[0.0, 3, 4]], 4.999)) == 0


def test_duplicates_give_one_pair():
    assert len(assign(np.zeros((5, 3)), np.zeros((1, 3)), 1.0)) == 1


def test_nothing_gives_no_pairs():
    assert assign(np.zeros((0, 3)), np.zeros((4, 3)), 1.0).shape == (0, 2)
    assert assign(np.zeros((4, 3)), np.zeros((0, 3)), 1.0).shape == (0, 2)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_a_radius_that_is_no_distance_is_refused(radius):
    with pytest.raises(InputError, match="radius"):
        assign(np.zeros((1, 3)), np.zeros((1, 3)), radius)


def test_ten_thousand_points_are_one_matter_of_seconds():
    generator = np.random.default_rng(0)
    truth = generator.uniform(0, 5000, (10_000, 3))
    started = time.process_time()
    pairs = assign(truth + generator.normal(0, 5, truth.shape), truth, 60.0)
    assert len(pairs) > 9_900
    assert time.process_time() - started < 20  # a dense 10,000 x 10,000 assignment takes minutes


def test_in_ranked_matching_the_better_score_takes_the_particle():
    picks = np.array([[0.0, 0, 1], [0, 0, 4]])
    assert greedy_hits(picks, [[0.0, 0, 0]], [0.2, 0.9], 5.0).tolist() == [False, True]
    assert greedy_hits(picks, [[0.0, 0, 0]], [0.5, 0.5], 5.0).tolist() == [True, False]
