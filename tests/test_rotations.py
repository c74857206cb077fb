"""Euler conventions against written-out matrices and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryoembed import rotations
from cryoembed.errors import InputError

ANGLES = st.tuples(st.floats(-720, 20000), st.floats(-720, 20000), st.floats(-720, 20000))


def relion_matrix(rot_deg: float, tilt_deg: float, psi_deg: float) -> np.ndarray:
    """RELION's Euler matrix, element by element (Euler_angles2matrix); it turns the particle into the tomogram."""
    a, b, g = np.deg2rad([rot_deg, tilt_deg, psi_deg])
    ca, sa, cb, sb, cg, sg = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(g), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def zxz_matrix(first_deg: float, second_deg: float, third_deg: float) -> np.ndarray:
    """Turn about z, then x, then z, all axes fixed in the tomogram."""

    def about_z(angle: float) -> np.ndarray:
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.deg2rad(second_deg)), np.sin(np.deg2rad(second_deg))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return about_z(third_deg) @ about_x @ about_z(first_deg)


@given(ANGLES)
def test_relion_angles_give_relions_matrix(angles: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(rotations.from_relion_deg(angles).as_matrix()[0], relion_matrix(*angles), atol=1e-9)


@given(ANGLES)
def test_relion_angles_come_back_as_the_same_rotation(angles: tuple[float, float, float]) -> None:
    rotation = rotations.from_relion_deg(angles)
    written = rotations.to_relion_deg(rotation)
    assert 0 <= written[0, 1] <= 180
    assert (rotations.from_relion_deg(written) * rotation.inv()).magnitude()[0] < 1e-6


@given(ANGLES)
def test_shrec_angles_are_fixed_axis_zxz(angles: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(rotations.from_shrec_deg(angles).as_matrix()[0], zxz_matrix(*angles), atol=1e-9)


@given(ANGLES)
def test_shrec_angles_come_back_as_the_same_rotation(angles: tuple[float, float, float]) -> None:
    rotation = rotations.from_shrec_deg(angles)
    again = rotations.from_shrec_deg(rotations.to_shrec_deg(rotation))
    assert (again * rotation.inv()).magnitude()[0] < 1e-6


def test_zyx_matrices_turn_zyx_vectors_as_the_rotation_turns_xyz() -> None:
    turned = rotations.random_rotations(5, np.random.default_rng(0))
    xyz = np.array([1.0, 2.0, 3.0])
    by_zyx = np.einsum("nij,j->ni", rotations.matrices_zyx(turned), xyz[::-1])
    np.testing.assert_allclose(by_zyx[:, ::-1], turned.apply(xyz), atol=1e-12)


def test_same_seed_same_rotations() -> None:
    first, second = (rotations.random_rotations(3, np.random.default_rng(7)).as_quat() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_random_rotations_cover_the_sphere_evenly() -> None:
    directions = rotations.random_rotations(4000, np.random.default_rng(1)).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose((directions**2).mean(axis=0), 1 / 3, atol=0.03)


def test_the_pole_is_no_warning_and_no_surprise() -> None:
    identity = Rotation.identity(1)
    np.testing.assert_allclose(rotations.to_relion_deg(identity), [[0, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(("step_deg", "symmetry"), [(30, "C1"), (20, "C3"), (20, "D2"), (30, "O")])
def test_no_rotation_is_farther_from_the_grid_than_its_step(step_deg: float, symmetry: str) -> None:
    steps, group = rotations.grid(step_deg, symmetry), Rotation.create_group(symmetry)
    drawn = rotations.random_rotations(200, np.random.default_rng(3))
    gaps = [min(((turn * same).inv() * steps).magnitude().min() for same in group) for turn in drawn]
    assert 0.6 * step_deg < np.rad2deg(max(gaps)) < 1.1 * step_deg


@pytest.mark.parametrize(("symmetry", "order"), [("C2", 2), ("C7", 7), ("D3", 6), ("T", 12), ("I", 60)])
def test_symmetry_thins_the_grid_by_its_order(symmetry: str, order: int) -> None:
    assert len(rotations.grid(15)) / len(rotations.grid(15, symmetry)) == pytest.approx(order, rel=0.15)


def test_a_grid_has_no_rotation_twice() -> None:
    steps = rotations.grid(40)
    apart = [(turn.inv() * steps).magnitude() for turn in steps]
    assert np.rad2deg(np.partition(apart, 1, axis=1)[:, 1].min()) > 0.4 * 40


@pytest.mark.parametrize(("step_deg", "symmetry", "said"), [(0, "C1", "step"), (10, "X9", "point group")])
def test_a_grid_that_cannot_be_made_is_named(step_deg: float, symmetry: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rotations.grid(step_deg, symmetry)
