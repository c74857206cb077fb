"""Curves: worm-like chains obey their formula, paths keep arc length, frames do not twist."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.scene.paths import about_axis, rotations_of, smooth_path, worm_like_chain


@pytest.mark.parametrize(("step", "persistence"), [(20.0, 500.0), (100.0, 150.0), (300.0, 100.0)])
def test_tangents_of_a_worm_like_chain_forget_their_direction_exponentially(step, persistence):
    generator = np.random.default_rng(1)
    chains = np.stack([worm_like_chain(20, step, persistence, generator) for _ in range(3000)])
    tangents = np.diff(chains, axis=1) / step
    for lag in (1, 2, 5, 10):
        found = (tangents[:, :-lag] * tangents[:, lag:]).sum(axis=2).mean()
        assert found == pytest.approx(np.exp(-lag * step / persistence), abs=0.015)


def test_worm_like_chains_have_the_mean_square_end_to_end_distance_of_their_formula():
    generator = np.random.default_rng(2)
    step, steps, persistence = 10.0, 200, 500.0
    ends = np.stack([worm_like_chain(steps, step, persistence, generator)[-1] for _ in range(3000)])
    length = steps * step
    expected = 2 * persistence * length * (1 - persistence / length * (1 - np.exp(-length / persistence)))
    squared = (ends**2).sum(axis=1)
    assert abs(squared.mean() - expected) < 4 * squared.std() / np.sqrt(len(squared))
    assert squared.mean() == pytest.approx(expected, rel=0.05)


def test_first_step_goes_where_it_is_told(generator):
    nodes = worm_like_chain(3, 10.0, 50.0, generator, start=(1, 2, 3), direction=(0, 0, 2))
    assert np.allclose(nodes[:2], [(1, 2, 3), (1, 2, 13)])


def test_points_of_a_path_are_equally_spaced_and_on_the_curve():
    angle = np.linspace(0, np.pi, 40)
    path = smooth_path(np.stack([0 * angle, 100 * np.sin(angle), 100 * np.cos(angle)], axis=1))
    assert path.length == pytest.approx(100 * np.pi, rel=1e-3)
    assert np.allclose(np.linalg.norm(np.diff(path.points, axis=0), axis=1), path.spacing, rtol=1e-2)
    assert np.allclose(np.linalg.norm(path.points, axis=1), 100, atol=0.05)


def test_frames_do_not_twist_along_a_plane_curve_and_are_right_handed():
    angle = np.linspace(0, np.pi, 40)
    path = smooth_path(
        np.stack([0 * angle, 100 * np.sin(angle), 100 * np.cos(angle)], axis=1), first_normal=np.array([1.0, 0, 0])
    )
    _, frames = path.at(np.linspace(0, path.length, 7))
    assert np.allclose(frames[:, :, 2], (1, 0, 0), atol=1e-6)
    matrices = rotations_of(frames).as_matrix()  # acting on xyz
    assert np.allclose(np.linalg.det(frames), 1)
    assert np.allclose(matrices @ (0, 0, 1), frames[:, ::-1, 0], atol=1e-6)  # local z is the tangent


def test_a_phase_turns_from_x_to_y_about_the_tangent():
    path = smooth_path([(0, 0, 0), (50, 0, 0)], first_normal=np.array([0, 0, 1.0]))
    _, frames = path.at([10.0], [np.pi / 2])
    assert np.allclose(rotations_of(frames).apply([1, 0, 0]), [0, 1, 0], atol=1e-9)
    assert np.allclose(about_axis(0.0), np.eye(3))


def test_a_path_starts_along_the_tangent_it_is_given():
    path = smooth_path([(0, 0, 0), (20, 5, 0), (40, 0, 0)], first_tangent=np.array([1.0, 0, 0]), spacing=0.2)
    assert path.tangents[0] @ (1, 0, 0) > 0.9999


def test_arc_lengths_beyond_the_end_go_on_straight():
    path = smooth_path([(0, 0, 0), (30, 0, 0)])
    assert np.allclose(path.at([40.0, -5.0])[0], [(40, 0, 0), (-5, 0, 0)])


@pytest.mark.parametrize("nodes", [[(1, 1, 1)], [(1, 1, 1), (1, 1, 1)], [(0, 0, 0), (np.nan, 0, 0)]])
def test_a_path_without_length_is_an_error(nodes):
    with pytest.raises(InputError, match="no length"):
        smooth_path(nodes)


@pytest.mark.parametrize("bad", [(0, 10.0, 50.0), (5, 0.0, 50.0), (5, 10.0, -1.0)])
def test_a_chain_of_nothing_is_an_error(bad, generator):
    with pytest.raises(InputError, match="must be positive"):
        worm_like_chain(*bad, generator)
