"""Surfaces: distances, normals and projections onto them."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.scene.surfaces import Ellipsoid, Sheet, Torus, draw_waves

AXES = np.eye(3)
CENTRE = np.array([200.0, 300.0, 400.0])


def test_distances_are_exact_for_spheres_tori_and_planes(generator):
    points = CENTRE + generator.normal(size=(200, 3)) * 120
    away = points - CENTRE
    sphere = Ellipsoid(CENTRE, AXES, semi=np.full(3, 100.0))
    torus = Torus(CENTRE, AXES, major=150.0, minor=40.0)
    ring = np.hypot(away[:, 1], away[:, 2]) - 150.0
    assert np.allclose(sphere.at(points), np.linalg.norm(away, axis=1) - 100.0, atol=1e-6)
    assert np.allclose(torus.at(points), np.hypot(ring, away[:, 0]) - 40.0, atol=1e-6)
    assert np.allclose(Sheet(CENTRE, AXES).at(points), away[:, 0], atol=1e-6)


@pytest.mark.parametrize("undulating", [False, True])
def test_projected_points_lie_on_the_surface_and_normals_point_out(generator, undulating):
    waves = draw_waves(generator, 15.0 * undulating, (400.0, 900.0), in_plane=False)
    surface = Ellipsoid(CENTRE, AXES, waves, np.array([150.0, 200.0, 260.0]))
    directions = generator.normal(size=(50, 3))
    start = CENTRE + directions / np.linalg.norm(directions / surface.semi, axis=1, keepdims=True)
    points = surface.projected(start + generator.normal(size=start.shape) * 8)
    normals = surface.normals(points)
    assert np.abs(surface.at(points)).max() < 0.5
    assert ((points - CENTRE) * normals).sum(axis=1).min() > 0
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert np.all(surface.at(points + 10 * normals) > 5)
