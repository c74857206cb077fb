"""The shape of a sample: as thick as asked, and nothing where nothing can be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.envelope import EnvelopeConfig, draw_envelope
from cryoembed.simulate.scene.truth import truth_is_consistent

SHAPE = (64, 80, 90)
CELL = {"kind": "cell", "thickness_nm": [35, 40], "radius_nm": [25, 30], "offset_nm": [0, 5], "ice_nm": [20, 20]}


def draw(seed=0, shape=SHAPE, **settings):
    config = parse_config(EnvelopeConfig, settings)
    return draw_envelope(config, shape, 10.0, np.random.default_rng(seed))


def test_a_full_sample_has_no_mask():
    assert draw(kind="full").sample_mask is None
    assert draw().thickness_vox == SHAPE[0]


def test_a_slab_is_as_thick_as_drawn_and_in_the_middle():
    for seed in range(5):
        slab = draw(seed, kind="slab", thickness_nm=[30, 50])
        depth = slab.sample_mask.sum(axis=0)
        assert np.ptp(depth) == 0
        assert 29 <= depth[0, 0] <= 51
        assert abs(np.flatnonzero(slab.sample_mask[:, 0, 0]).mean() - 31.5) <= 0.5


def test_the_faces_of_a_lamella_are_wavy_and_tilted():
    lamella = draw(1, kind="lamella", thickness_nm=[40, 40], tilt_deg=[3, 3], waviness_nm=[3, 3])
    depth = lamella.sample_mask.sum(axis=0)
    assert np.median(depth) == pytest.approx(40, abs=8)
    assert np.ptp(depth) > 2
    tops = np.argmax(lamella.sample_mask, axis=0)
    assert np.ptp(tops) > 3
    flat = draw(1, kind="lamella", thickness_nm=[40, 40], tilt_deg=[0, 0], waviness_nm=[0, 0])
    assert np.ptp(flat.sample_mask.sum(axis=0)) == 0


def test_a_cell_is_round_thin_at_its_edge_and_lies_in_ice():
    cell = draw(2, **CELL)
    depth = cell.cell_mask.sum(axis=0)
    assert depth.max() == pytest.approx(37, abs=6)
    assert (depth[[0, -1]] == 0).all()
    assert 0 < np.sort(depth[depth > 0])[:20].mean() < 0.5 * depth.max()
    assert (cell.sample_mask | ~cell.cell_mask).all()
    assert cell.sample_mask[:, 0, 0].sum() == pytest.approx(20, abs=1)
    assert (cell.sample_mask.sum(axis=0) >= depth).all()


def test_no_film_leaves_the_cell_alone():
    cell = draw(2, **{**CELL, "ice_nm": [0, 0]})
    assert (cell.sample_mask | ~cell.cell_mask).all()
    skin = cell.sample_mask & ~cell.cell_mask
    assert 0 < skin.sum() < 0.5 * cell.cell_mask.sum()
    assert not cell.sample_mask[:, 0, 0].any()


def test_a_sample_thicker_than_the_volume_is_refused():
    with pytest.raises(InputError, match="100 nm thick does not fit into a volume 64 nm deep"):
        draw(kind="slab", thickness_nm=[60, 100])


@pytest.mark.parametrize(
    "wrong", [{"kind": "brick"}, {"thickness_nm": [80, 60]}, {"thickness_nm": [0, 60]}, {"tilt_deg": [0, 60]}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError):
        parse_config(EnvelopeConfig, wrong)


@pytest.mark.parametrize("kind", ["slab", "lamella"])
def test_everything_lies_in_the_ice(make_config, species, kind):
    envelope = {"kind": kind, "thickness_nm": [25, 30], "waviness_nm": [0, 2]}
    config = make_config(envelope=envelope, crowding=0.1, vesicles=[1, 1], fiducials=[2, 2])
    scene = compose(config, species[:2], np.random.default_rng(0))
    assert not scene.occupancy_mask[~scene.sample_mask].any()
    assert np.array_equal(scene.lamella_mask, scene.sample_mask)
    filled = scene.macromolecule_mask().sum() / scene.sample_mask.sum()
    assert scene.crowding == pytest.approx(filled)
    assert 0.095 < filled < 0.2  # of the ice, not of the volume


def test_the_faces_of_a_lamella_cut_membranes(make_config):
    envelope = {"kind": "lamella", "thickness_nm": [20, 20], "waviness_nm": [0, 0], "tilt_deg": [0, 0]}
    spec = {"kind": "sphere", "radius": [150, 160], "undulation": [0, 0]}
    config = make_config(envelope=envelope, membranes=[spec])
    scene = compose(config, [], np.random.default_rng(3))
    assert scene.mask_of("vesicle").any()
    faces = np.flatnonzero(scene.sample_mask[:, 0, 0])[[0, -1]]
    assert any(scene.mask_of("vesicle")[face].any() for face in faces)
    assert not scene.density[~scene.sample_mask].any()


@pytest.fixture(scope="module")
def cell(make_config, species):
    config = make_config(
        shape=[64, 96, 96],
        envelope=CELL,
        cytosol=0.1,
        crowding=0.12,
        fiducials=[3, 3],
        fiducial_diameter=[60, 80],
    )
    return compose(config, species[:2], np.random.default_rng(1))


def test_particles_are_inside_the_cell_gold_outside(cell):
    assert list(cell.particles.labels[:4]) == ["membrane", "fiducial", "fiducial", "fiducial"]
    assert not cell.macromolecule_mask()[~cell.cell_mask].any()
    assert not cell.mask_of("fiducial")[cell.cell_mask].any()
    assert cell.mask_of("fiducial").any()
    assert truth_is_consistent(cell).all()
    assert np.array_equal(cell.lamella_mask, cell.cell_mask)
    assert not cell.occupancy_mask[~cell.sample_mask].any()


def test_a_bare_cell_keeps_its_membrane_within_the_sample(make_config, species):
    config = make_config(shape=[64, 80, 90], envelope={**CELL, "ice_nm": [0, 0]}, counts=3)
    scene = compose(config, species[:1], np.random.default_rng(3))
    assert not scene.occupancy_mask[~scene.sample_mask].any()
    assert truth_is_consistent(scene).all()
    assert len(scene.particles) == 4


def test_a_membrane_bounds_the_cell(cell):
    lipids = cell.mask_of("membrane")
    inner = cell.cell_mask & ~lipids
    labels, count = ndimage.label(~lipids)
    assert count >= 2
    assert len(np.unique(labels[inner])) == 1
    assert not set(np.unique(labels[inner])) & set(np.unique(labels[~cell.cell_mask & ~lipids]))


def test_cytosol_fills_the_cell_between_particles(cell):
    away = cell.cell_mask & (ndimage.distance_transform_edt(cell.occupancy_mask == 0) > 3)  # from particles' soft rims
    assert np.mean(cell.density[away]) == pytest.approx(0.1, abs=0.03)
    assert np.median(cell.density[~cell.cell_mask]) == 0
