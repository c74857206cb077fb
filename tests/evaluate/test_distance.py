import numpy as np
import pytest

from cryoembed.evaluate.distance import near, score_distance
from cryoembed.particles import Particles

TRUTH = Particles.from_arrays("a", [[0, 0, 0], [0, 0, 100], [0, 0, 200]], label=["ribosome", "ribosome", "vault"])


def test_counts_ratios_and_distance_of_a_hand_made_scene():
    picks = Particles.from_arrays(
        "a", [[0, 0, 4], [0, 0, 2], [0, 0, 106], [0, 50, 300]], score=[0.9, 0.8, 0.7, 0.6], label=["ribosome"] * 4
    )
    score = score_distance(picks, TRUTH, radius=10)
    assert (score.n_truth, score.n_picks, score.tp, score.fp, score.fn) == (3, 4, 2, 2, 1)
    assert score.precision == 0.5
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(4 / 7)
    assert score.mean_distance == pytest.approx((2 + 6) / 2)  # the nearer duplicate is paired
    # ranked: hit, duplicate, hit, miss -> (1/1 + 2/3) / 3
    assert score.average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert score.recall_per_label == {"ribosome": 1.0, "vault": 0.0}


def test_truth_scored_against_itself_is_perfect():
    score = score_distance(TRUTH.with_columns(score=[3, 2, 1]), TRUTH, radius=1, per_class=True)
    assert (score.precision, score.recall, score.f1, score.average_precision) == (1, 1, 1, 1)
    assert set(score.per_class) == {"ribosome", "vault"}


def test_a_wrong_label_is_two_errors_per_class_and_none_in_localisation():
    picks = Particles.from_arrays("a", TRUTH.positions_zyx, label=["ribosome", "vault", "vault"])
    assert score_distance(picks, TRUTH, radius=10).f1 == 1
    score = score_distance(picks, TRUTH, radius=10, per_class=True)
    assert (score.tp, score.fp, score.fn) == (2, 1, 1)
    assert score.per_class["vault"].precision == 0.5
    assert score.per_class["ribosome"].recall == 0.5


def test_the_same_position_in_another_tomogram_is_no_hit():
    picks = Particles.from_arrays("b", TRUTH.positions_zyx)
    score = score_distance(picks, TRUTH, radius=10)
    assert (score.tp, score.fp, score.fn) == (0, 3, 3)
    assert score.f1 == 0
    assert score.mean_distance is None


def test_doubtful_particles_count_neither_way():
    doubtful = Particles.from_arrays("a", [[0, 0, 300]])
    picks = Particles.from_arrays("a", [[0, 0, 1], [0, 0, 301], [0, 0, 302], [0, 0, 400]], score=[0.5, 0.9, 0.8, 0.4])
    score = score_distance(picks, TRUTH, radius=10, ignore=doubtful)
    assert (score.tp, score.fp, score.fn, score.n_ignored, score.n_picks) == (1, 1, 2, 2, 2)
    assert score.average_precision == pytest.approx(1 / 3)  # the ignored ones stand in nobody's way


def test_a_hit_beside_a_doubtful_particle_stays_a_hit():
    doubtful = Particles.from_arrays("a", [[0, 0, 5]])
    score = score_distance(Particles.from_arrays("a", [[0, 0, 1]]), TRUTH, radius=10, ignore=doubtful)
    assert (score.tp, score.n_ignored) == (1, 0)


def test_without_scores_there_is_no_average_precision():
    assert score_distance(TRUTH, TRUTH, radius=1).average_precision is None


def test_no_picks_are_all_misses():
    score = score_distance(Particles.empty(), TRUTH, radius=10)
    assert (score.tp, score.fp, score.fn, score.precision, score.f1) == (0, 0, 3, 0, 0)


def test_near_marks_picks_on_traps():
    picks = Particles.from_arrays(["a", "a", "b"], [[0, 0, 0], [0, 0, 50], [0, 0, 0]])
    traps = Particles.from_arrays("a", [[0, 0, 3]])
    assert near(picks, traps, 5).tolist() == [True, False, False]


def test_order_of_rows_does_not_matter():
    generator = np.random.default_rng(1)
    truth = Particles.from_arrays("a", generator.uniform(0, 300, (60, 3)))
    picks = Particles.from_arrays("a", generator.uniform(0, 300, (80, 3)), score=np.repeat([0.2, 0.8], 40))
    shuffled = picks.select(generator.permutation(80))
    assert score_distance(picks, truth, radius=40) == score_distance(shuffled, truth, radius=40)
