"""Packing: nothing overlaps, and the truth table says exactly what is where."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import MASK_THRESHOLD, occupied, rotate
from cryoembed.simulate.scene.pack import pack
from cryoembed.simulate.scene.truth import shortfall, truth_is_consistent

SHAPE = (40, 64, 72)


@pytest.fixture(scope="module")
def scene(species):
    return pack(species, SHAPE, 10.0, np.random.default_rng(3), counts=[8, 3, 4, 3, 3], tomogram="t1")


def test_everything_asked_for_is_placed(scene, species):
    labels, counts = np.unique(scene.particles.labels, return_counts=True)
    assert dict(zip(labels, counts, strict=True)) == {"blob": 8, "ring": 3, "rod": 4, "shell": 3, "two": 3}
    assert scene.missed == {}
    assert set(scene.particles.tomograms) == {"t1"}
    mass = {template.name: template.mass_kda for template in species}
    assert [mass[label] for label in scene.particles.labels] == list(scene.particles.column("mass_kda", 0))


def test_a_lone_particle_has_its_centre_of_mass_at_its_stated_position(species):
    for seed, template in enumerate(species):
        alone = pack([template], SHAPE, 10.0, np.random.default_rng(seed), counts=[1], margin=30.0)
        measured = np.asarray(ndimage.center_of_mass(alone.density)) * 10.0
        assert np.abs(measured - alone.particles.positions_zyx[0]).max() < 1.0  # A: a tenth of a voxel


def test_masks_never_overlap(scene, species):
    """Every particle rendered again from the table alone: no voxel is claimed twice, and the occupancy is theirs."""
    by_name = {template.name: template for template in species}
    claimed = np.zeros(SHAPE, dtype=int)
    rows = zip(scene.particles.positions_zyx, scene.particles.rotations, scene.particles.labels, strict=True)
    for number, (position, rotation, label) in enumerate(rows, start=1):
        template = by_name[label]
        nearest = np.floor(position / 10.0 + 0.5).astype(int)
        density = rotate(template, rotation, position / 10.0 - nearest)
        centre = (template.box_vox // 2,) * 3
        mask = occupied(density, template.interior * MASK_THRESHOLD, centre, 10.0)
        voxels = np.argwhere(mask) + nearest - template.box_vox // 2
        claimed[tuple(voxels.T)] += 1
        # quaternions are float32 in the table: a voxel on the very threshold may differ
        assert (scene.occupancy_mask[tuple(voxels.T)] == number).mean() > 0.995
    assert (claimed > 1).sum() <= 2
    assert abs(int((claimed > 0).sum()) - int((scene.occupancy_mask > 0).sum())) <= 5


def test_every_centre_carries_its_own_id(scene):
    assert truth_is_consistent(scene).all()


def test_truth_check_notices_a_shifted_table(scene):
    from dataclasses import replace

    moved = scene.particles.with_columns(x=scene.particles.positions_zyx[:, 2] + 150.0)
    assert truth_is_consistent(replace(scene, particles=moved)).mean() < 0.3


def test_instance_is_the_occupancy_id(scene):
    assert list(scene.particles.column("instance", 0)) == list(range(1, len(scene.particles) + 1))


def test_class_mask_names_the_species_of_the_occupancy(scene):
    classes = np.array([scene.classes.index(label) + 1 for label in scene.particles.labels])
    assert np.array_equal(np.concatenate([[0], classes])[scene.occupancy_mask], scene.class_mask)


def test_the_largest_are_placed_first(scene, species):
    volume = {template.name: template.mask().sum() for template in species}
    assert np.all(np.diff([volume[label] for label in scene.particles.labels]) <= 0)


def test_crowding_is_reached_and_measured(species, generator):
    filled = pack(species, SHAPE, 10.0, generator, crowding=0.15)
    assert filled.crowding == pytest.approx((filled.occupancy_mask > 0).mean(), abs=1e-9)
    assert 0.145 < filled.crowding < 0.25
    assert shortfall(filled, 0.15) is None


def test_crowding_that_cannot_be_reached_says_what_was(species, generator, caplog):
    with caplog.at_level(logging.WARNING):
        full = pack(species[:1], (24, 24, 24), 10.0, generator, crowding=0.9, tries=50)
    assert "can't be reached" in caplog.text
    assert f"{full.crowding:.3f} was" in shortfall(full, 0.9)


def test_counts_that_find_no_place_are_named(species, generator):
    full = pack(species[-1:], (30, 30, 30), 10.0, generator, counts={"two": 40}, tries=50)
    assert full.missed["two"] == 40 - len(full.particles) > 0
    assert "two" in shortfall(full, None)


def test_margin_and_gap_are_kept_free(species, generator):
    spaced = pack(species[:1], SHAPE, 10.0, generator, counts=[12], margin=50.0, gap=40.0)
    occupied_voxels = np.argwhere(spaced.occupancy_mask)
    assert occupied_voxels.min(axis=0).min() >= 5
    assert (np.array(SHAPE) - 1 - occupied_voxels.max(axis=0)).min() >= 5
    for number in range(1, 13):
        others = (spaced.occupancy_mask > 0) & (spaced.occupancy_mask != number)
        distance = ndimage.distance_transform_edt(~others)
        assert distance[spaced.occupancy_mask == number].min() * 10 > 40.0


def test_vesicles_and_gold_are_rows_without_orientation(species, generator):
    mixed = pack(species[:1], (60, 80, 80), 10.0, generator, counts=[5], vesicles=1, fiducials=2)
    assert list(mixed.particles.labels) == ["vesicle", "fiducial", "fiducial"] + ["blob"] * 5
    assert list(mixed.is_macromolecule) == [False] * 3 + [True] * 5
    assert set(np.unique(mixed.occupancy_mask)) == set(range(9))
    assert list(truth_is_consistent(mixed)[1:]) == [True] * 7
    assert not mixed.macromolecule_mask()[mixed.occupancy_mask <= 3].any()


def test_the_same_seed_packs_the_same_scene(species):
    one, two = (pack(species, SHAPE, 10.0, np.random.default_rng(9), counts=[3] * 5) for _ in range(2))
    assert one.density.tobytes() == two.density.tobytes()
    assert one.particles.table.equals(two.particles.table)


def test_a_volume_smaller_than_a_particle_is_refused(species, generator):
    with pytest.raises(InputError, match="smaller than the particle"):
        pack(species, (8, 64, 64), 10.0, generator, counts=[1] * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either counts or crowding"),
        ({"counts": [1] * 5, "crowding": 0.1}, "either counts or crowding"),
        ({"crowding": 1.2}, "no fraction"),
        ({"counts": [1, 2]}, "expected 5 counts"),
        ({"counts": {"nobody": 1}}, "unknown species nobody"),
        ({"crowding": 0.1, "weights": [1.0]}, "weights"),
    ],
)
def test_contradictory_requests_are_refused(species, generator, arguments, message):
    with pytest.raises(InputError, match=message):
        pack(species, SHAPE, 10.0, generator, **arguments)


def test_other_voxel_sizes_and_twice_the_same_name_are_refused(species, generator):
    with pytest.raises(InputError, match="voxels"):
        pack(species, SHAPE, 5.0, generator, counts=[1] * 5)
    with pytest.raises(InputError, match="different names"):
        pack([species[0], species[0]], SHAPE, 10.0, generator, counts=[1, 1])
