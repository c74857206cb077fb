"""Microtubules and actin: subunits land on their lattice, mass is exact, the truth says what is where."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.template import DENSITY_PER_KDA
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.filaments import FilamentSpec, place_filaments, stiff_path
from cryoembed.simulate.scene.lattices import (
    ACTIN_RISE,
    ACTIN_TWIST_DEG,
    DIMER_RISE,
    actin,
    actin_lattice,
    microtubule,
    microtubule_lattice,
    microtubule_radius,
)
from cryoembed.simulate.scene.paths import smooth_path
from cryoembed.simulate.scene.placing import place
from cryoembed.simulate.scene.strand import write_strand

VOXEL = 10.0
CLASSES = ("microtubule", "actin", "blob")


def _canvas(shape=(48, 80, 96), gap=0.0, voxel=VOXEL):
    return Canvas(shape, voxel, gap=gap, margin=0.0, classes=CLASSES)


def _mass(canvas):
    return float(canvas.density.sum(dtype=np.float64)) * canvas.voxel_size**3 / DENSITY_PER_KDA


def _along_x(start, end, z=240.0, y=400.0):
    return smooth_path([(z, y, start), (z, y, end)], first_normal=np.array([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("count", [10, 12, 13, 14, 15])
def test_protofilaments_and_radius_show_in_the_cross_section(count):
    canvas = _canvas((90, 90, 60), voxel=4.0)
    write_strand(canvas, microtubule(_along_x(-800, 1000, z=180.0, y=180.0), protofilaments=count), resolution=12.0)
    section = canvas.density[:, :, 20:41].mean(axis=2)  # one dimer
    angle = np.arange(720) * 2 * np.pi / 720
    radii = np.arange(40.0, 160.0, 2.0)
    z, y = 45 + radii[:, None] * np.sin(angle) / 4, 45 + radii[:, None] * np.cos(angle) / 4
    polar = section[np.rint(z).astype(int), np.rint(y).astype(int)]
    profile = polar.mean(axis=1)
    centre = float((radii * profile * radii).sum() / (profile * radii).sum())
    assert centre == pytest.approx(microtubule_radius(count), abs=4)
    spectrum = np.abs(np.fft.rfft(polar[np.argmax(profile)]))
    assert 5 + int(np.argmax(spectrum[5:30])) == count


def test_thirteen_protofilaments_are_a_three_start_left_handed_helix_that_runs_straight():
    phases, heights = microtubule_lattice(1000.0, 13)
    turns = phases / (2 * np.pi) * 13
    assert np.allclose(turns, np.rint(turns))  # no supertwist
    first = {round(turn): heights[np.rint(turns) == turn].min() for turn in range(13)}
    steps = [(first[k] - first[k + 1]) % DIMER_RISE for k in range(12)]
    assert np.allclose(steps, 3 * 41 / 13)  # down by 9.46 A per protofilament from x to y: left-handed
    assert (13 * steps[0]) == pytest.approx(1.5 * DIMER_RISE)  # the seam: three monomers
    assert np.allclose(np.diff(np.sort(heights[np.rint(turns) == 0])), DIMER_RISE)
    assert microtubule_radius(13) == pytest.approx(106.6, abs=0.1)


def test_fourteen_protofilaments_wind_to_the_left_and_fifteen_to_the_right():
    for count, sign in ((14, -1), (15, 1)):
        phases, heights = microtubule_lattice(2000.0, count)
        rest = (phases * count / (2 * np.pi)) % 1.0
        slope = np.polyfit(heights, np.unwrap(2 * np.pi * rest[np.argsort(heights)]), 1)[0]
        assert np.sign(slope) == sign


def test_actin_subunits_stand_on_their_helix():
    strand = actin(_along_x(0, 600))
    per_subunit = strand.atoms.reshape(len(actin_lattice(600.0)[0]), -1, 3)
    first = per_subunit[0][:, ::-1] - (0, 400, 240)  # xyz about the axis, which is x
    for index in (1, 2, 13):
        turned = Rotation.from_rotvec([np.deg2rad(ACTIN_TWIST_DEG) * index, 0, 0]).apply(first)
        expected = turned + np.array([ACTIN_RISE * index, 400, 240])
        assert np.allclose(per_subunit[index][:, ::-1], expected, atol=1e-6)


@pytest.mark.parametrize(("make", "voxel"), [(microtubule, 10.0), (actin, 10.0), (actin, 4.0)])
def test_the_integral_is_the_mass(make, voxel):
    canvas = _canvas((60, 100, 100), voxel=voxel)
    centre = 30 * voxel
    strand = make(smooth_path([(centre, 50 * voxel, 40 * voxel), (centre, 50 * voxel, 80 * voxel)]))
    write_strand(canvas, strand, resolution=12.0)
    assert _mass(canvas) == pytest.approx(strand.mass_kda, rel=1e-3)


def test_masses_are_those_of_whole_subunits():
    assert microtubule(_along_x(0, 820)).mass_kda % 110 == pytest.approx(0, abs=1e-6)
    assert actin(_along_x(0, 819)).mass_kda == pytest.approx(42 * 30)


def test_copies_of_a_template_stand_where_the_built_in_subunits_do():
    subunit = template_from_atoms("mine", [(0, 0, 0), (15, 0, 0), (0, 0, 12)], [2, 1, 1], VOXEL, 42.0)
    canvas = _canvas()
    strand = actin(_along_x(100, 700), subunit=subunit)
    write_strand(canvas, strand, resolution=12.0)
    assert _mass(canvas) == pytest.approx(strand.mass_kda, rel=0.02)
    assert strand.subunits is not None
    built_in = actin(_along_x(100, 700)).atoms.reshape(len(strand.subunits[1]), -1, 3).mean(axis=1)
    assert np.abs(np.linalg.norm((strand.subunits[1] - built_in)[:, :2], axis=1)).max() < 25
    assert np.ptp(np.linalg.norm(strand.subunits[1][:, :2] - (240, 400), axis=1)) < 1e-6


def test_copies_of_a_dimer_stand_on_the_wall_with_their_outside_out():
    dimer = template_from_atoms("dimer", [(-20, 0, 0), (20, 0, 0), (0, 0, 30)], [2, 2, 1], VOXEL, 110.0)
    strand = microtubule(_along_x(100, 700), subunit=dimer)
    assert strand.subunits is not None
    _, centres, rotations = strand.subunits
    off = centres - np.array([240, 400, 0]) * (1, 1, 0)
    assert np.allclose(np.linalg.norm(off[:, :2], axis=1), microtubule_radius(13))
    outwards = rotations.apply([1, 0, 0])[:, ::-1]
    assert np.allclose(outwards[:, :2] * microtubule_radius(13), off[:, :2])
    assert np.allclose(rotations.apply([0, 0, 1]), (1, 0, 0))  # protofilaments run along the axis
    assert strand.mass_kda == pytest.approx(microtubule(_along_x(100, 700)).mass_kda)


def test_the_mid_point_carries_the_id_and_the_lumen_belongs_to_the_tube_but_not_to_the_class():
    canvas = _canvas()
    write_strand(canvas, microtubule(_along_x(100, 800)), resolution=12.0)
    row = canvas.rows[0]
    at = tuple(round(float(row[axis]) / VOXEL) for axis in "zyx")
    assert canvas.occupancy[at] == 1
    assert canvas.class_mask[at] == 0
    assert canvas.blocked[at]
    walls = canvas.class_mask == 1
    assert canvas.density[walls].sum() > 0.9 * canvas.density.sum()
    assert (canvas.occupancy[walls] == 1).all()
    instance, label, points = canvas.paths[0]
    assert (instance, label) == (1, "microtubule")
    assert np.allclose(points[[0, -1], 2], (100, 800))


def test_filaments_and_particles_never_overlap(species, generator):
    canvas = _canvas(gap=10.0)
    assert place_filaments(canvas, FilamentSpec(kind="microtubule", count=(2, 2)), generator, resolution=12.0) == 0
    spec = FilamentSpec(kind="actin", count=(5, 5), length=(200, 500), max_tilt_deg=60)
    place_filaments(canvas, spec, generator, resolution=12.0)
    before = canvas.occupancy.copy()
    blob = next(template for template in species if template.name == "blob")
    placed = sum(place(canvas, blob, 3, generator, 0.3, 2000) for _ in range(20))
    assert placed > 10
    assert np.array_equal(canvas.occupancy[before > 0], before[before > 0])
    ids, sizes = np.unique(before[before > 0], return_counts=True)
    assert len(ids) == len([row for row in canvas.rows if row["label"] != "blob"])
    # each tube has its whole cross-section: none was painted over by a later one
    tubes = [(path[0], len(path[2])) for path in canvas.paths if path[1] == "actin"]
    assert all(sizes[list(ids).index(number)] > 8 * 10 for number, _ in tubes)


def test_filaments_lie_inside_the_volume_unless_they_run_from_face_to_face(generator):
    canvas = _canvas()
    place_filaments(canvas, FilamentSpec(kind="actin", count=(4, 4), length=(200, 400)), generator, resolution=12.0)
    size = (np.array(canvas.shape) - 1) * VOXEL
    for _, _, points in canvas.paths:
        assert (points >= 0).all()
        assert (points <= size).all()
    canvas = _canvas()
    place_filaments(canvas, FilamentSpec(kind="microtubule", count=(1, 1)), generator, resolution=12.0)
    outside = (canvas.paths[0][2] < 0) | (canvas.paths[0][2] > size)
    assert outside[0].any()
    assert outside[-1].any()


def test_the_same_seed_makes_the_same_filaments():
    volumes = []
    for _ in range(2):
        canvas = _canvas()
        spec = FilamentSpec(kind="microtubule", protofilaments=(12, 13, 14))
        place_filaments(canvas, spec, np.random.default_rng(5), resolution=12.0)
        volumes.append(canvas.density)
    assert np.array_equal(*volumes)


def test_a_filament_longer_than_the_box_is_an_error(generator):
    spec = FilamentSpec(kind="actin", length=(3000, 3000))
    with pytest.raises(InputError, match="3000 A does not fit into 470 x 790 x 950 A"):
        stiff_path(spec, (48, 80, 96), VOXEL, generator)


def test_a_filament_shorter_than_a_subunit_is_an_error(generator):
    with pytest.raises(InputError, match="shorter than one subunit"):
        place_filaments(_canvas(), FilamentSpec(kind="actin", length=(5, 5)), generator, resolution=12.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "flagellum"}, "microtubule"),
        ({"kind": "actin", "length": (0, 0)}, "positive lengths"),
        ({"kind": "actin", "count": (3, 1)}, "range of counts"),
        ({"kind": "microtubule", "protofilaments": (20,)}, "10 to 15"),
    ],
)
def test_wrong_settings_say_what_is_expected(settings, message):
    with pytest.raises(ValueError, match=message):
        FilamentSpec(**settings)


def test_a_microtubule_of_twenty_protofilaments_is_an_error():
    with pytest.raises(InputError, match="expected 10 to 15"):
        microtubule_lattice(1000.0, 20)


def test_a_full_volume_is_reported_not_overwritten(generator, caplog):
    canvas = _canvas()
    canvas.blocked[:] = True
    assert place_filaments(canvas, FilamentSpec(kind="actin", count=(2, 2)), generator, resolution=12.0) == 2
    assert "no place was found for 2" in caplog.text
    assert not canvas.density.any()
