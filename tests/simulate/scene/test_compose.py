"""Samples: numbers as asked, crowded as far as it goes, and the truth holds whatever the settings."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import MASK_THRESHOLD, occupied, rotate
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.pack import pack
from cryoembed.simulate.scene.truth import shortfall, truth_is_consistent

VOXEL = 10.0


def rendered(scene, templates):
    """How often each voxel is claimed, every particle drawn again from the table alone; and the voxels of each."""
    by_name = {template.name: template for template in templates}
    claimed = np.zeros(scene.density.shape, dtype=int)
    rows = scene.particles.select(scene.is_macromolecule)
    if len(rows) == 0:
        return claimed
    for position, rotation, label in zip(rows.positions_zyx, rows.rotations, rows.labels, strict=True):
        template = by_name[label]
        nearest = np.floor(position / VOXEL + 0.5).astype(int)
        density = rotate(template, rotation, position / VOXEL - nearest)
        mask = occupied(density, template.interior * MASK_THRESHOLD, (template.box_vox // 2,) * 3, VOXEL)
        voxels = np.argwhere(mask) + nearest - template.box_vox // 2
        voxels = voxels[np.all((voxels >= 0) & (voxels < claimed.shape), axis=1)]
        claimed[tuple(voxels.T)] += 1
    return claimed


def check(scene, templates):
    """Everything that must hold of any scene."""
    claimed = rendered(scene, templates)
    particles = scene.macromolecule_mask()
    slack = 3 + len(scene.particles) // 4  # quaternions are float32: a voxel on the very threshold may differ
    assert (claimed > 1).sum() <= slack
    assert ((claimed > 0) != particles).sum() <= slack
    assert scene.occupancy_mask.max() == len(scene.particles)
    assert list(scene.particles.column("instance", 0)) == list(range(1, len(scene.particles) + 1))
    classes = np.array([0, *(scene.classes.index(label) + 1 for label in scene.particles.labels)])
    assert np.array_equal(classes[scene.occupancy_mask], scene.class_mask)
    hollow = np.asarray(scene.particles.labels) == "vesicle"
    assert truth_is_consistent(scene)[~hollow].all()
    assert np.array_equal(scene.is_macromolecule, scene.particles.table["qx"].notna())
    if scene.sample_mask is not None:
        assert not scene.occupancy_mask[~scene.sample_mask].any()
    if scene.cell_mask is not None:
        free = np.isin(scene.occupancy_mask, 1 + np.flatnonzero(np.isin(scene.particles.labels, ["blob", "ring"])))
        assert not free[~scene.cell_mask].any()
    assert np.isfinite(scene.density).all()
    assert scene.density.min() > -0.3


envelopes = st.sampled_from(
    [
        {},
        {"kind": "slab", "thickness_nm": [25, 36]},
        {"kind": "lamella", "thickness_nm": [28, 36], "waviness_nm": [0, 3]},
        {"kind": "cell", "thickness_nm": [30, 36], "radius_nm": [20, 35], "offset_nm": [0, 8], "ice_nm": [0, 20]},
        {"kind": "cell", "thickness_nm": [30, 36], "radius_nm": [60, 90], "ice_nm": [0, 0]},
    ]
)
numbers = st.sampled_from([{"counts": 4}, {"crowding": 0.1}, {"crowding": 0.3}, {"particles": [5, 40]}])
shapes = st.sampled_from(
    [
        {},
        {"vesicles": [1, 2]},
        {"membranes": [{"kind": "flat", "double": 0.5}], "vesicles": [0, 1]},
        {"membranes": [{"kind": "torus", "radius": [80, 160], "minor_radius": [40, 60]}]},
    ]
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    envelope=envelopes,
    number=numbers,
    shape=shapes,
    gap=st.sampled_from([0.0, 12.0, 25.0]),
    stick_out=st.booleans(),
    fiducials=st.integers(0, 2),
    embedded=st.booleans(),
)
def test_the_truth_holds_for_any_settings(
    make_config, species, mushroom, seed, envelope, number, shape, gap, stick_out, fiducials, embedded
):
    templates = list(species[:2])
    extra = {}
    if embedded and (shape or envelope.get("kind") == "cell"):
        templates.append(mushroom)
        extra = {"membrane_proteins": [0, 8]}
    config = make_config(
        shape=[40, 56, 60],
        envelope=envelope,
        gap=gap,
        stick_out=stick_out,
        fiducials=[0, fiducials],
        **number,
        **shape,
        **extra,
    )
    check(compose(config, templates, np.random.default_rng(seed)), templates)


def test_the_same_seed_makes_the_same_sample(make_config, species, mushroom):
    config = make_config(
        crowding=0.3,
        vesicles=[1, 2],
        fiducials=[1, 1],
        membrane_proteins=[3, 5],
        stick_out=True,
        envelope={"kind": "lamella", "thickness_nm": [30, 40]},
    )
    one, two = (compose(config, [*species, mushroom], np.random.default_rng(4)) for _ in range(2))
    assert one.density.tobytes() == two.density.tobytes()
    assert one.particles.table.equals(two.particles.table)


def test_looking_everywhere_crowds_more_than_trying(make_config, species):
    tried = pack(species[:2], (40, 40, 40), VOXEL, np.random.default_rng(0), crowding=0.6, tries=50)
    searched = compose(make_config(shape=[40, 40, 40], crowding=0.6), species[:2], np.random.default_rng(0))
    assert searched.crowding > 1.15 * tried.crowding
    check(searched, species)


def test_crowding_beyond_reach_says_what_was_reached(make_config, species, caplog):
    with caplog.at_level(logging.WARNING):
        full = compose(make_config(shape=[30, 30, 30], crowding=0.95), species[:1], np.random.default_rng(0))
    assert f"crowding 0.950 can't be reached: {full.crowding:.3f} was" in caplog.text
    assert shortfall(full, 0.95) is not None


def test_a_range_of_particles_is_of_all_species_together(make_config, species):
    config = make_config(shape=[64, 80, 80], particles=[25, 30])
    found = {len(compose(config, species[:3], np.random.default_rng(seed)).particles) for seed in range(6)}
    assert found <= set(range(25, 31))
    assert len(found) > 1


def test_a_particle_without_a_place_is_skipped_without_a_word_of_shortfall(make_config, species):
    scene = compose(make_config(shape=[32, 32, 32], particles=[200, 200]), species[:2], np.random.default_rng(0))
    assert len(scene.particles) < 200
    assert shortfall(scene, None) is None


def test_faces_cut_particles_only_if_they_may(make_config, species):
    for stick_out in (False, True):
        config = make_config(shape=[32, 40, 40], counts={"ring": 25}, stick_out=stick_out)
        scene = compose(config, species[1:2], np.random.default_rng(2))
        sizes = np.bincount(scene.occupancy_mask.ravel())[1:]
        assert (sizes.min() < 0.8 * np.median(sizes)) == stick_out
        assert truth_is_consistent(scene).all()


def test_a_sample_without_species_may_hold_gold_alone(make_config):
    scene = compose(make_config(fiducials=[2, 2]), [], np.random.default_rng(0))
    assert list(scene.particles.labels) == ["fiducial"] * 2
    diameter = 2 * (3 * (scene.occupancy_mask == 1).sum() / (4 * np.pi)) ** (1 / 3) * VOXEL
    assert 75 < diameter < 130
    assert ndimage.label(scene.occupancy_mask == 1)[1] == 1


def test_a_slab_thinner_than_a_particle_is_refused(make_config, species):
    with pytest.raises(InputError, match="smaller than the particle"):
        compose(
            make_config(counts=1, envelope={"kind": "slab", "thickness_nm": [5, 5]}), species, np.random.default_rng(0)
        )
