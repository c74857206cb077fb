"""Curves: paths keep arc length, frames do not twist."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.scene.paths import about_axis, rotations_of, smooth_path


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
