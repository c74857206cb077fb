"""Strings with beads: smooth joints, nothing overlaps, each bead and each string has its own id."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.particles import QUATERNION
from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.density.template import DENSITY_PER_KDA, MASK_THRESHOLD, occupied, rotate
from cryoembed.simulate.scene import chains, dna
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.chains import ChainSpec, place_chains
from cryoembed.simulate.scene.growth import Ground, grow
from cryoembed.simulate.scene.strings import Bead, string_nodes, thread

CLASSES = ("dna", "mrna", "nucleosome", "polymerase")
SHAPE = (50, 90, 90)


@pytest.fixture(scope="module")
def polymerase():
    return phantom(PhantomSpec(name="polymerase", family="blob", mass_kda=390, symmetry="C1", seed=3), 10.0)


def _canvas(gap=0.0, shape=SHAPE):
    return Canvas(shape, 10.0, gap=gap, margin=0.0, classes=CLASSES)


@pytest.fixture(scope="module")
def chromatin():
    canvas = _canvas()
    spec = ChainSpec(beads="nucleosome", count=(4, 4), length=(2500, 5000), cut=False)
    missed = place_chains(canvas, spec, np.random.default_rng(4), resolution=12.0, species={})
    assert missed == 0
    return canvas


def test_where_no_chain_finds_room_few_are_looked_for(monkeypatch):
    looked_for = []
    monkeypatch.setattr(chains, "grow", lambda *args: looked_for.append(grow(*args)) or looked_for[-1])
    canvas = _canvas()
    canvas.blocked[:] = True
    spec = ChainSpec(count=(40, 40))
    assert place_chains(canvas, spec, np.random.default_rng(0), resolution=12.0, species={}) == 40
    assert not any(looked_for)
    assert len(looked_for) == 5


def test_each_string_and_each_nucleosome_has_an_id_of_its_own(chromatin):
    labels = [row["label"] for row in chromatin.rows]
    assert labels.count("dna") == 4
    assert labels.count("nucleosome") > 10
    assert set(np.unique(chromatin.occupancy)) == set(range(len(labels) + 1))


def test_positions_carry_their_ids_and_classes(chromatin):
    for number, row in enumerate(chromatin.rows, start=1):
        at = tuple(round(float(row[axis]) / 10.0) for axis in "zyx")
        assert chromatin.occupancy[at] == number
        assert chromatin.class_mask[at] == CLASSES.index(row["label"]) + 1
        assert np.isfinite(row.get("qx", np.nan)) == (row["label"] == "nucleosome")


def test_no_nucleosome_loses_voxels_to_another(chromatin):
    """Drawn again from its row alone, each has its voxels but for those that DNA keeps at its ends."""
    template = dna.nucleosome(10.0, resolution=12.0)
    centre = template.box_vox // 2
    labels = np.array(["", *(row["label"] for row in chromatin.rows)])
    for number in np.flatnonzero(labels == "nucleosome"):
        row = chromatin.rows[number - 1]
        position = np.array([row[axis] for axis in "zyx"]) / 10.0
        nearest = np.floor(position + 0.5).astype(int)
        turned = rotate(template, Rotation.from_quat([row[name] for name in QUATERNION]), position - nearest)
        mask = occupied(turned, template.interior * MASK_THRESHOLD, (centre,) * 3, 10.0)
        voxels = np.argwhere(mask) - centre + nearest
        holders = chromatin.occupancy[tuple(voxels[((voxels >= 0) & (voxels < SHAPE)).all(axis=1)].T)]
        own, strings = holders == number, labels[holders] == "dna"
        assert (own | strings).mean() > 0.95
        assert own.mean() > 0.7


def test_chromatin_weighs_its_base_pairs_and_histones(chromatin):
    mass = chromatin.density.sum(dtype=np.float64) * 1000 / DENSITY_PER_KDA
    assert mass == pytest.approx(sum(float(row["mass_kda"]) for row in chromatin.rows), rel=0.02)


def test_the_path_is_the_whole_dna(chromatin):
    instance, label, points = chromatin.paths[0]
    assert (instance, label) == (1, "dna")
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert steps.max() < 15  # never jumps: nucleosomes are passed along their superhelix
    assert 2400 < steps.sum() < 6000


def test_the_helix_passes_into_a_nucleosome_smoothly_and_in_phase(generator):
    bead = Bead.nucleosome(10.0, 12.0)
    law = ChainSpec(beads="nucleosome").law()
    start, frame = np.zeros(3), np.eye(3)
    for _ in range(5):
        piece = thread(law, bead, string_nodes(law, start, frame, generator), frame)
        before, _ = dna.double_helix(piece.string)
        inside, _ = dna.double_helix(bead.path, bead.first_phase)
        after = inside @ piece.turn.T + piece.at
        # one more base pair on the linker is where the nucleosome has its first, to the rounding of whole base pairs
        last, first = before.reshape(-1, 3, 3)[-1], after.reshape(-1, 3, 3)[0]
        assert np.linalg.norm(last[2] - first[2]) == pytest.approx(3.32, abs=0.2)
        cosine = (last[0] - last[2]) @ (first[0] - first[2]) / (8.91**2 + 2.08**2)
        assert cosine == pytest.approx((8.91**2 * np.cos(2 * np.pi / 10.5) + 2.08**2) / (8.91**2 + 2.08**2), abs=0.06)
        start, frame = piece.end, piece.end_frame


def test_a_bare_chain_avoids_itself_and_stays_inside(generator):
    canvas = _canvas(shape=(40, 60, 60))
    law = ChainSpec().law()
    pieces = grow(Ground.of(canvas), law, None, (6000.0, 6000.0), generator)
    points = np.concatenate([piece.string.points for piece in pieces])
    assert (points > 0).all()
    assert (points < (np.array(canvas.shape) - 1) * 10.0).all()
    apart = points[::4]
    distance = np.linalg.norm(apart[:, None] - apart[None], axis=2)
    far_along = np.abs(np.arange(len(apart))[:, None] - np.arange(len(apart))) > 12
    assert distance[far_along].min() > 8.0  # a voxel, less its rounding


def test_dna_passes_through_the_middle_of_a_polymerase(polymerase, generator):
    canvas = _canvas()
    spec = ChainSpec(beads="polymerase", count=(2, 2), length=(1500, 2500), spacing=(200, 400), cut=False)
    assert place_chains(canvas, spec, generator, resolution=12.0, species={"polymerase": polymerase}) == 0
    centres = np.array([[row[a] for a in "zyx"] for row in canvas.rows if row["label"] == "polymerase"])
    path = np.concatenate([points for _, _, points in canvas.paths])
    nearest = np.linalg.norm(centres[:, None] - path[None], axis=2).min(axis=1)
    assert len(centres) > 4
    assert nearest.max() < 6
    mass = canvas.density.sum(dtype=np.float64) * 1000 / DENSITY_PER_KDA
    assert mass == pytest.approx(sum(float(row["mass_kda"]) for row in canvas.rows), rel=0.02)


def test_ribosomes_follow_each_other_on_an_mrna(polymerase, generator):
    canvas = _canvas()
    spec = ChainSpec(kind="mrna", beads="polymerase", count=(1, 1), length=(1500, 1500), spacing=(100, 120), cut=False)
    place_chains(canvas, spec, generator, resolution=12.0, species={"polymerase": polymerase})
    assert canvas.rows[0]["label"] == "mrna"
    assert sum(row["label"] == "polymerase" for row in canvas.rows) >= 4


def test_a_chain_leaves_what_is_taken_alone(generator):
    canvas = _canvas(gap=10.0)
    canvas.blocked[:, :45] = True
    place_chains(canvas, ChainSpec(beads="nucleosome"), generator, resolution=12.0, species={})
    assert canvas.rows
    assert not canvas.occupancy[:, :45].any()


def test_side_faces_may_cut_chains_but_never_a_bead_from_its_centre(generator):
    canvas = _canvas()
    spec = ChainSpec(beads="nucleosome", count=(8, 8), length=(2000, 4000))
    place_chains(canvas, spec, generator, resolution=12.0, species={})
    size = (np.array(canvas.shape) - 1) * 10.0
    path = np.concatenate([points for _, _, points in canvas.paths])
    assert (path[:, 0] >= 0).all()
    assert (path[:, 0] <= size[0]).all()
    assert ((path[:, 1:] < 0) | (path[:, 1:] > size[1:])).any()
    for number, row in enumerate(canvas.rows, start=1):
        assert canvas.occupancy[tuple(round(float(row[axis]) / 10.0) for axis in "zyx")] == number
    beads = [number for number, row in enumerate(canvas.rows, start=1) if row["label"] == "nucleosome"]
    assert canvas.density.sum() <= sum(float(row["mass_kda"]) for row in canvas.rows) * DENSITY_PER_KDA / 1000
    assert np.bincount(canvas.occupancy.reshape(-1))[beads].min() > 50


def test_the_same_seed_grows_the_same_chain(chromatin):
    canvas = _canvas()
    spec = ChainSpec(beads="nucleosome", count=(4, 4), length=(2500, 5000), cut=False)
    place_chains(canvas, spec, np.random.default_rng(4), resolution=12.0, species={})
    assert np.array_equal(canvas.density, chromatin.density)
    assert np.array_equal(canvas.occupancy, chromatin.occupancy)


def test_an_unknown_bead_is_an_error(generator):
    with pytest.raises(InputError, match="'histone'.*known: nucleosome, a"):
        place_chains(_canvas(), ChainSpec(beads="histone"), generator, resolution=12.0, species={"a": None})


def test_no_room_is_reported(generator, caplog):
    canvas = _canvas()
    canvas.blocked[:] = True
    assert place_chains(canvas, ChainSpec(count=(2, 2)), generator, resolution=12.0, species={}) == 2
    assert "no place was found for 2 of the dna chains" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [{"kind": "protein"}, {"length": (0, 10)}, {"spacing": (50, 20)}, {"persistence": 0}, {"count": (-1, 1)}],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match="expected|greater than|should be"):
        ChainSpec(**settings)
