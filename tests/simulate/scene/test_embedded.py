"""Membrane proteins: upright, at the right height, in place of lipids, clear of each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.embedded import upright
from cryoembed.simulate.scene.truth import truth_is_consistent

SPHERE = {"kind": "sphere", "radius": [180, 200], "undulation": [0, 0], "stick_out": False}


@pytest.fixture(scope="module")
def dressed(make_config, mushroom):
    """A sphere with proteins."""
    config = make_config(shape=[60, 60, 60], membranes=[SPHERE], membrane_proteins=[12, 12])
    return compose(config, [mushroom], np.random.default_rng(5))


def origins(scene, template):
    """(n, 3) where the origin of each protein's own frame lies, and (n, 3) its z axis; zyx, A."""
    rows = scene.particles.select(scene.is_macromolecule)
    offset = np.array(template.origin_offset_zyx)[::-1]
    at = rows.positions_zyx + rows.rotations.apply(offset)[:, ::-1]
    return at, rows.rotations.apply([0, 0, 1])[:, ::-1]


@pytest.mark.parametrize("normal", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, -1), (0.6, -0.48, 0.64)])
def test_upright_lays_z_along_the_normal(normal):
    for turn in (0.0, 1.0, 5.0):
        assert np.allclose(upright(np.array(normal, dtype=float), turn).apply([0, 0, 1])[::-1], normal)


def test_turns_about_the_normal_differ():
    one, two = (upright(np.array([0.6, 0.8, 0.0]), turn) for turn in (0.0, 1.5))
    assert (one * two.inv()).magnitude() == pytest.approx(1.5)


def test_all_proteins_stand_on_the_membrane_and_point_out(dressed, mushroom):
    assert list(dressed.particles.labels) == ["vesicle"] + ["mushroom"] * 12
    centre = dressed.particles.positions_zyx[0]
    at, axis = origins(dressed, mushroom)
    radius = np.linalg.norm(at - centre, axis=1)
    assert np.ptp(radius) < 1.0
    assert 179.9 < radius.mean() < 200.1
    assert ((at - centre) / radius[:, None] * axis).sum(axis=1).min() > 0.999


def test_every_centre_carries_its_id_and_heads_lie_outside(dressed):
    assert truth_is_consistent(dressed)[1:].all()
    middle = dressed.particles.positions_zyx[0]
    away = np.linalg.norm(dressed.particles.positions_zyx[1:] - middle, axis=1)
    assert away.min() > 210  # centres of mass, of which 40 A are above the membrane


def test_lipids_make_way_and_nothing_is_counted_twice(dressed, make_config, mushroom):
    bare = compose(make_config(shape=[60, 60, 60], membranes=[SPHERE]), [], np.random.default_rng(5))
    taken = (bare.occupancy_mask == 1) & (dressed.occupancy_mask > 1)
    assert taken.sum() > 12 * 3
    assert set(np.unique(dressed.class_mask[taken])) == {dressed.classes.index("mushroom") + 1}
    untouched = ndimage.binary_dilation(dressed.occupancy_mask > 1, iterations=8)
    assert np.allclose(dressed.density[~untouched], bare.density[~untouched], atol=1e-3)
    # lipids under the stalk would add to it
    assert dressed.density.max() < 1.05 * mushroom.density.max()


def test_proteins_of_a_sheet_point_either_way(make_config, mushroom):
    config = make_config(membranes=[{"kind": "flat", "undulation": [0, 0]}], membrane_proteins=[14, 14])
    scene = compose(config, [mushroom], np.random.default_rng(2))
    _, axis = origins(scene, mushroom)
    along = axis @ axis[0]
    assert np.abs(along).min() > 0.999
    assert {-1, 1} == set(np.sign(along))


@pytest.mark.parametrize("per_um2", [1000.0, 3000.0])
def test_the_density_of_proteins_is_per_area(make_config, mushroom, per_um2):
    ball = {**SPHERE, "radius": [190, 190]}
    config = make_config(shape=[60, 60, 60], membranes=[ball], membrane_protein_density=[per_um2, per_um2])
    scene = compose(config, [mushroom], np.random.default_rng(5))
    area = 4 * np.pi * 0.019**2  # square micrometres
    assert scene.is_macromolecule.sum() == pytest.approx(per_um2 * area, abs=1.5)


def test_a_full_membrane_takes_no_more(make_config, mushroom):
    config = make_config(shape=[60, 60, 60], membranes=[SPHERE], counts={"mushroom": 1000})
    scene = compose(config, [mushroom], np.random.default_rng(5))
    placed = int(scene.is_macromolecule.sum())
    assert 20 < placed < 400
    assert scene.missed == {"mushroom": 1000 - placed}
    assert truth_is_consistent(scene)[1:].all()


def test_what_swims_and_what_is_embedded_keep_apart(make_config, mushroom, species):
    config = make_config(
        shape=[64, 64, 64], membranes=[SPHERE], counts={"mushroom": 8, "blob": 20, "ring": 4}, vesicles=[1, 1]
    )
    scene = compose(config, [*species[:2], mushroom], np.random.default_rng(1))
    labels = list(scene.particles.labels)
    assert (labels.count("mushroom"), labels.count("blob"), labels.count("ring")) == (8, 20, 4)
    assert scene.missed == {}
    assert truth_is_consistent(scene)[scene.is_macromolecule].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vesicles": [1, 1]}, "give membrane_proteins"),
        ({"membrane_proteins": [3, 3]}, "need membranes"),
    ],
)
def test_membrane_proteins_without_a_number_or_a_membrane_are_refused(make_config, mushroom, settings, message):
    with pytest.raises(InputError, match=message):
        compose(make_config(**settings), [mushroom], np.random.default_rng(0))


def test_a_membrane_as_origin_keeps_the_offset_of_real_maps(shared_data, make_config):
    """The head of 4pe5 reaches 120 A out; its map has the membrane at the box centre, its mass 56 A above."""
    from cryoembed.io.mrc import read_tomogram
    from cryoembed.simulate.density.calibration import calibrated

    loaded = read_tomogram(shared_data / "maps/10A_membrane/4pe5_mbz_align_shift.mrc.gz")
    density = np.clip(np.asarray(loaded.data, dtype=float), 0, None)
    density[density < 0.02 * density.max()] = 0
    offset = np.array(density.shape) // 2 - np.array(ndimage.center_of_mass(density))
    template = calibrated("4pe5", density, 10.0, 400.0)
    template = replace(template, origin_offset_zyx=tuple(offset * 10.0), membrane=True)
    config = make_config(shape=[72, 72, 72], membranes=[{**SPHERE, "radius": [150, 150]}], membrane_proteins=[4, 4])
    scene = compose(config, [template], np.random.default_rng(4))
    centre = scene.particles.positions_zyx[0]
    assert scene.is_macromolecule.sum() == 4
    at, _ = origins(scene, template)
    assert np.allclose(np.linalg.norm(at - centre, axis=1), 150, atol=1.0)
    reach = np.linalg.norm(np.argwhere(scene.mask_of("4pe5")) * 10.0 - centre, axis=1)
    assert reach.max() == pytest.approx(150 + 120, abs=20)
    assert reach.min() == pytest.approx(150 - 35, abs=20)
