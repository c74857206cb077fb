"""Membranes: the right shape, cut by faces, never through each other."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.scene import membrane_voxels
from cryoembed.simulate.scene.bilayers import MembraneSpec, Profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.membrane_voxels import draw_membrane
from cryoembed.simulate.scene.membranes import place_membranes
from cryoembed.simulate.scene.surfaces import Ellipsoid
from cryoembed.simulate.scene.truth import truth_is_consistent

AXES = np.eye(3)
CENTRE = np.array([200.0, 300.0, 400.0])


def test_slabs_make_no_difference(monkeypatch):
    surface = Ellipsoid(np.array([200.0, 250.0, 20.0]), AXES, semi=np.array([150.0, 180.0, 220.0]))
    volumes = []
    for size in (1_000_000, 3000):
        monkeypatch.setattr(membrane_voxels, "_SLAB", size)
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
