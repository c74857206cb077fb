"""DNA and nucleosomes: mass per base pair, a right-handed helix with two grooves, a left-handed superhelix."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.density.template import DENSITY_PER_KDA
from cryoembed.simulate.scene import dna
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.paths import smooth_path
from cryoembed.simulate.scene.strand import Strand, write_strand

STRAIGHT = smooth_path([(0, 0, 0), (105 * dna.BP_RISE, 0, 0)], first_normal=np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("voxel", [3.0, 5.0, 10.0])
def test_density_holds_the_mass_of_its_base_pairs(voxel):
    path = smooth_path([(100, 100, 100), (200, 260, 100), (300, 300, 200)])
    atoms, masses = dna.double_helix(path)
    assert masses.sum() == pytest.approx(round(path.length / 3.32) * 0.65)
    canvas = Canvas((int(400 / voxel),) * 3, voxel, gap=0, margin=0, classes=("dna",))
    write_strand(canvas, Strand("dna", path, atoms, masses, dna.DNA_RADIUS), resolution=8.0)
    assert canvas.density.sum(dtype=np.float64) * voxel**3 == pytest.approx(masses.sum() * DENSITY_PER_KDA, rel=1e-3)


def test_the_helix_is_right_handed_with_ten_and_a_half_base_pairs_a_turn():
    atoms, _ = dna.double_helix(STRAIGHT)
    backbone = atoms.reshape(-1, 3, 3)[:, 0, ::-1]  # xyz of one strand
    angle = np.unwrap(np.arctan2(backbone[:, 1], backbone[:, 0]))
    assert np.allclose(np.diff(angle), 2 * np.pi / 10.5)  # from x to y while z rises
    assert np.allclose(np.diff(backbone[:, 2]), 3.32)
    assert np.allclose(np.hypot(backbone[:, 0], backbone[:, 1]), 8.91)


def test_one_groove_is_wide_and_one_is_narrow():
    pairs = dna.double_helix(STRAIGHT)[0].reshape(-1, 3, 3)
    distance = np.linalg.norm(pairs[50, 0] - pairs[:, 1], axis=1)
    minima = [k - 50 for k in range(1, 104) if distance[k] < min(distance[k - 1], distance[k + 1])]
    assert minima == [-3, 4]
    assert distance[54] == pytest.approx(12, abs=0.5)
    assert distance[47] == pytest.approx(17, abs=0.5)


def test_the_superhelix_is_left_handed_and_holds_147_base_pairs_in_1_65_turns():
    path, _ = dna.superhelix()
    assert path.length == pytest.approx(147 * 3.32, rel=2e-3)
    bent = path.points[np.abs(np.hypot(path.points[:, 1], path.points[:, 2]) - 41.8) < 0.2][:, ::-1]
    angle = np.unwrap(np.arctan2(bent[:, 1], bent[:, 0]))
    assert np.ptp(angle) / (2 * np.pi) == pytest.approx(1.65, abs=0.03)
    slope = np.polyfit(angle, bent[:, 2], 1)[0] * 2 * np.pi
    assert slope == pytest.approx(-25.9, abs=0.1)  # falls while going from x to y: left-handed


def test_dna_winds_outside_of_the_octamer_and_the_dyad_is_a_symmetry():
    atoms, masses = dna.nucleosome_atoms()
    path, _ = dna.superhelix()
    octamer = atoms[3 * 147 :]
    assert masses.sum() == pytest.approx(108 + 147 * 0.65)
    gap = np.linalg.norm(octamer[:, None] - path.points[None], axis=2).min(axis=1)
    assert gap.min() > 7.0
    turned = path.points[::-1] * (-1, -1, 1)  # half a turn about x
    assert np.abs(turned - path.points).max() < 0.2
    backbones = atoms[: 3 * 147].reshape(147, 3, 3)
    assert np.abs(backbones[::-1, 1] * (-1, -1, 1) - backbones[:, 0]).max() < 1.0


def test_the_minor_groove_of_the_middle_base_pair_looks_outwards():
    path, phase = dna.superhelix()
    _, frames = path.at([path.length / 2], [phase + dna.TWIST * path.length / 2])
    assert frames[0, 2, 2] > 0.999


def test_a_nucleosome_is_a_calibrated_species():
    template = dna.nucleosome(5.0, resolution=8.0)
    assert template.mass_kda == pytest.approx(203.55)
    assert template.mask()[(template.box_vox // 2,) * 3]
    assert 50 < template.radius < 75


def test_rna_weighs_its_nucleotides():
    _, masses = dna.single_strand(STRAIGHT)
    assert masses.sum() == pytest.approx(round(STRAIGHT.length / 5.9) * 0.32)
