"""Membranes: as thick as they should be, the right shape, cut by faces, never through each other."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.scene import membranes
from cryoembed.simulate.scene.bilayers import MembraneSpec, Profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.membranes import draw_membrane, place_membranes
from cryoembed.simulate.scene.sample import compose
from cryoembed.simulate.scene.surfaces import Ellipsoid, Sheet, Torus, draw_waves
from cryoembed.simulate.scene.truth import truth_is_consistent

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


def test_a_bilayer_has_its_head_groups_where_the_thickness_says():
    canvas = Canvas((64, 16, 16), 2.0, gap=0, margin=0, classes=("membrane",))
    sheet = Sheet(np.array([64.0, 0.0, 0.0]), AXES)
    assert draw_membrane(canvas, sheet, Profile(15.0, 3.0), "membrane") is not None
    profile = canvas.density[:, 8, 8]
    heads = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] > profile[2:])) + 1
    assert list(heads * 2.0) == [pytest.approx(49.0, abs=1.1), pytest.approx(79.0, abs=1.1)]
    assert 0.1 < profile[32] < 0.5 * profile.max()
    assert profile[0] == profile[-1] == 0
    assert (canvas.occupancy[:, 8, 8] > 0).sum() * 2 == pytest.approx(36, abs=2)


def test_a_double_membrane_is_two_bilayers_of_one_object():
    canvas = Canvas((64, 64, 64), 10.0, gap=0, margin=0, classes=("vesicle",))
    ball = Ellipsoid(np.full(3, 320.0), AXES, semi=np.full(3, 280.0))
    draw_membrane(canvas, ball, Profile(15.0, 5.0, spacing=120.0), "vesicle")
    ray = canvas.occupancy[32, 32, 32:]
    assert list(np.flatnonzero(np.diff(ray.astype(int)) > 0)) == [14, 26]  # first voxels within 20 A of 160 and 280 A
    assert set(np.unique(canvas.occupancy)) == {0, 1}
    assert ray[0] == 0  # no ghost in the middle


def test_a_second_membrane_is_left_out_where_it_has_no_room():
    small = Ellipsoid(CENTRE, AXES, semi=np.full(3, 100.0))
    assert Profile(15.0, 5.0, spacing=120.0).within(small).spacing is None
    assert Profile(15.0, 5.0, spacing=40.0).within(small).spacing == 40.0


def test_slabs_make_no_difference(monkeypatch):
    surface = Ellipsoid(np.array([200.0, 250.0, 20.0]), AXES, semi=np.array([150.0, 180.0, 220.0]))
    volumes = []
    for size in (1_000_000, 3000):
        monkeypatch.setattr(membranes, "_SLAB", size)
        canvas = Canvas((40, 50, 60), 10.0, gap=0, margin=0, classes=("vesicle",))
        found = draw_membrane(canvas, surface, Profile(15.0, 5.0), "vesicle")
        volumes.append((canvas.density, canvas.occupancy, found.middle))
    for one, two in zip(*volumes, strict=True):
        assert np.array_equal(one, two)


def test_membranes_never_run_through_each_other(make_config, caplog):
    kinds = [
        {"kind": kind, "count": [2, 2], "radius": [80, 150], "minor_radius": [40, 50]}
        for kind in ("sphere", "ellipsoid", "torus", "flat")
    ]
    for seed in range(3):
        with caplog.at_level(logging.WARNING):
            scene = compose(make_config(membranes=kinds, shape=[64, 80, 80]), [], np.random.default_rng(seed))
        sizes = np.bincount(scene.occupancy_mask.ravel())
        assert len(sizes) == len(scene.particles) + 1
        assert (sizes > 100).all()  # overwritten ones would be left in pieces; none is lost
        labels = np.concatenate([[0], [scene.classes.index(label) + 1 for label in scene.particles.labels]])
        assert np.array_equal(labels[scene.occupancy_mask], scene.class_mask)
        assert truth_is_consistent(scene)[scene.particles.labels == "membrane"].all()


def test_closed_ones_are_vesicles_all_else_is_membrane(make_config):
    config = make_config(membranes=[{"kind": "torus", "radius": [120, 120], "minor_radius": [50, 50]}], vesicles=[1, 1])
    scene = compose(config, [], np.random.default_rng(1))
    assert list(scene.particles.labels) == ["vesicle", "membrane"]
    assert scene.classes == ("vesicle", "membrane")
    assert scene.mask_of("membrane").any()
    assert not scene.mask_of("dna").any()
    with pytest.raises(InputError, match="no class 'ribosome'"):
        scene.mask_of("ribosome")


def test_faces_cut_closed_membranes_only_if_they_may(make_config):
    for stick_out in (False, True):
        spec = {"kind": "sphere", "count": [1, 1], "radius": [150, 150], "undulation": [0, 0], "stick_out": stick_out}
        touching = 0
        for seed in range(8):
            mask = compose(make_config(membranes=[spec]), [], np.random.default_rng(seed)).occupancy_mask > 0
            faces = (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
            touching += any(face.any() for face in faces)
        assert (touching > 0) == stick_out


def test_the_gap_around_membranes_stays_free(make_config, species):
    from scipy import ndimage

    config = make_config(vesicles=[1, 1], counts={"blob": 15}, gap=40.0)
    scene = compose(config, species[:1], np.random.default_rng(3))
    lipids = scene.mask_of("vesicle")
    assert scene.mask_of("blob").any()
    assert ndimage.distance_transform_edt(~lipids)[scene.mask_of("blob")].min() * 10 > 35.0


def test_membranes_that_find_no_place_are_told(caplog, generator):
    canvas = Canvas((20, 20, 20), 10.0, gap=0, margin=0, classes=("vesicle",))
    canvas.blocked[:] = True
    with caplog.at_level(logging.WARNING):
        assert place_membranes(canvas, MembraneSpec(), 3, generator) == []
    assert "no place was found for one more membrane" in caplog.text
    assert not canvas.rows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thickness": [35, 25]}, "thickness"),
        ({"radius": [0, 10]}, "radius"),
        ({"count": [-1, 2]}, "count"),
        ({"kind": "cube"}, "sphere"),
        ({"kind": "torus", "minor_radius": [600, 700]}, "tube"),
        ({"double": 1.5}, "double"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        parse_config(MembraneSpec, wrong)
