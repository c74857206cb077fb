"""Hand-made features of densities whose features are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import sph_harm_y

from cryoembed.rotations import matrices_zyx, random_rotations
from tests.benchmark.baselines import FEATURES, MAX_DEGREE, fitted, harmonics, radial, voxels

SIZE = 32


def coordinates() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    z, y, x = np.indices((SIZE, SIZE, SIZE)) - SIZE // 2
    radius = np.sqrt(z**2 + y**2 + x**2)
    return radius, np.arccos(z / np.maximum(radius, 1e-9)), np.arctan2(y, x), z


def lopsided() -> np.ndarray:
    """A smooth density without symmetry, well inside the box."""
    z, y, x = np.indices((SIZE, SIZE, SIZE)) - SIZE // 2
    spots = ((4, 2, -5, 1.0), (-5, 3, 2, 0.7), (0, -6, 3, 1.3), (1, 1, 6, 0.5))
    return sum(height * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 12) for a, b, c, height in spots)


def turned(density: np.ndarray, seed: int) -> np.ndarray:
    matrix = matrices_zyx(random_rotations(1, np.random.default_rng(seed)))[0].T
    centre = np.full(3, SIZE // 2)
    return ndimage.affine_transform(density, matrix, centre - matrix @ centre, order=3)


@pytest.mark.parametrize(("degree", "order"), [(0, 0), (1, 1), (4, 2), (8, 5)])
def test_a_single_harmonic_has_power_in_its_own_degree_alone(degree: int, order: int) -> None:
    radius, theta, phi, _ = coordinates()
    angular = np.real(sph_harm_y(degree, order, theta, phi))
    table = harmonics((angular * np.exp(-((radius - 12) ** 2) / 18))[None])[0].reshape(-1, MAX_DEGREE + 1)
    shell = table[11]  # radius 12: amplitude 1
    expected = np.sqrt((1 if order == 0 else 0.5) / (4 * np.pi))  # mean square of the real part over the sphere
    assert shell[degree] == pytest.approx(expected, rel=0.1)
    assert np.delete(shell, degree).max() < 0.05 * expected


@pytest.mark.parametrize("name", ["harmonics", "radial"])
def test_turning_a_particle_changes_invariant_features_little(name: str) -> None:
    density = lopsided()
    given = FEATURES[name](np.stack([density, turned(density, 1), turned(density, 2)]))
    kept = given[:, : SIZE - 2] if name == "radial" else given  # profile and spread: no logarithms of next to nothing
    for other in kept[1:]:
        assert np.linalg.norm(other - kept[0]) < 0.03 * np.linalg.norm(kept[0])


def test_turning_a_particle_changes_its_voxels() -> None:
    density = lopsided()
    first, second = voxels(np.stack([density, turned(density, 1)]))
    assert np.linalg.norm(first - second) > 0.5 * np.linalg.norm(first)


def test_the_radial_profile_of_a_ball_is_its_wall() -> None:
    radius, *_ = coordinates()
    profile = radial((np.round(radius) <= 7).astype(float)[None])[0, : SIZE // 2]
    np.testing.assert_allclose(profile, np.arange(SIZE // 2) <= 7)


def test_a_wave_has_its_power_at_its_own_frequency() -> None:
    *_, z = coordinates()
    spectrum = radial(np.cos(2 * np.pi * 6 * z / SIZE)[None])[0, -SIZE // 2 :]
    assert spectrum.argmax() == 6


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_vectors_have_length_one_and_depend_on_no_other_box(name: str) -> None:
    rng = np.random.default_rng(0)
    train, boxes = rng.normal(size=(20, 16, 16, 16)), rng.normal(size=(5, 16, 16, 16))
    vectors = fitted(name, train, components=8)
    together, alone = vectors(boxes), np.concatenate([vectors(box[None]) for box in boxes])
    assert together.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-4)
