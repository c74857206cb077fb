from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.instances.measure import BOUNDING_BOX, measure
from cryoembed.instances.nms import non_maximum_suppression

from .scenes import balls


def test_planted_particles_are_measured_within_half_a_voxel_in_the_parent_frame() -> None:
    generator = np.random.default_rng(0)
    centres = [
        np.add((z, y, x), generator.uniform(-0.5, 0.5, 3)) for z in (10, 28) for y in (10, 30) for x in (10, 30, 50)
    ]
    labels = balls((40, 42, 62), centres, [6.0] * len(centres))
    origin = (720.0, 960.0, -35.0)
    particles = measure(labels, 8.0, tomogram="TS_01", origin=origin)
    assert particles.tomograms == ["TS_01"]
    np.testing.assert_array_equal(particles.column("instance", 0), np.arange(1, 13))
    expected = np.asarray(centres) * 8.0 + origin
    assert np.abs(particles.positions_zyx - expected).max() < 0.5 * 8.0
    np.testing.assert_allclose(particles.column("volume", 0), 4 / 3 * np.pi * 48.0**3, rtol=0.05)


def test_bounding_box_holds_the_instance_exactly() -> None:
    labels = np.zeros((10, 12, 14), dtype=np.int32)
    labels[2:5, 3:9, 4:14] = 7
    particles = measure(labels, 1.0, tomogram="t")
    assert particles.column("instance", 0).tolist() == [7]
    assert [int(particles.column(name, -1)[0]) for name in BOUNDING_BOX] == [2, 3, 4, 5, 9, 14]
    np.testing.assert_allclose(particles.positions_zyx, [[3.0, 5.5, 8.5]])


def test_score_is_the_mean_of_the_map_over_the_instance() -> None:
    labels = np.zeros((6, 6, 6), dtype=np.int32)
    labels[0, 0, :2], labels[3:, 3:, 3:] = 1, 3
    score = np.zeros(labels.shape, dtype=np.float16)
    score[0, 0, 0], score[3:, 3:, 3:] = 1.0, 0.25
    np.testing.assert_allclose(measure(labels, 1.0, tomogram="t", score_map=score).column("score", 0), [0.5, 0.25])


def test_an_empty_label_volume_gives_an_empty_table() -> None:
    assert len(measure(np.zeros((4, 4, 4), dtype=np.int32), 1.0, tomogram="t")) == 0


picks = st.lists(st.tuples(*[st.floats(0, 100) for _ in range(3)], st.floats(-5, 5)), min_size=0, max_size=60).map(
    lambda rows: np.asarray(rows, dtype=np.float64).reshape(-1, 4)
)


@given(picks, st.floats(0, 60))
@settings(max_examples=150, deadline=None)
def test_survivors_are_apart_and_every_dropped_pick_has_a_better_one_near(rows: np.ndarray, radius: float) -> None:
    positions, scores = rows[:, :3], rows[:, 3]
    kept = non_maximum_suppression(positions, scores, radius)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(scores[kept]) <= 0).all()
    apart = np.linalg.norm(positions[kept][:, None] - positions[kept][None], axis=-1)
    assert (apart[~np.eye(len(kept), dtype=bool)] > radius - 1e-9).all()
    for row in set(range(len(rows))) - set(kept.tolist()):
        near = np.linalg.norm(positions[kept] - positions[row], axis=1) <= radius + 1e-9
        assert (scores[kept][near] >= scores[row]).any()


def test_the_better_of_two_survives_whichever_comes_first() -> None:
    for scores in ([0.2, 0.9], [0.9, 0.2]):
        kept = non_maximum_suppression([[0, 0, 0], [0, 0, 5]], scores, 10.0)
        assert kept.tolist() == [int(np.argmax(scores))]


def test_a_dropped_pick_drops_no_other() -> None:
    chain = [[0, 0, 0], [0, 0, 8], [0, 0, 16]]
    assert non_maximum_suppression(chain, [0.9, 0.8, 0.7], 10.0).tolist() == [0, 2]


def test_no_picks_give_no_survivors_and_bad_numbers_are_refused() -> None:
    assert non_maximum_suppression(np.zeros((0, 3)), [], 10.0).tolist() == []
    with pytest.raises(ValueError, match="finite"):
        non_maximum_suppression([[0, 0, 0]], [np.nan], 10.0)
    with pytest.raises(ValueError, match="scores for"):
        non_maximum_suppression([[0, 0, 0]], [1, 2], 10.0)
    with pytest.raises(ValueError, match="radius"):
        non_maximum_suppression([[0, 0, 0]], [1], -1.0)
