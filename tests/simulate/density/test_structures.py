"""Structures: atoms weigh what they should, maps of any scale come out alike, bad files say what is wrong."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.mrc import write_mrc
from cryoembed.simulate.density.structures import (
    StructureSpec,
    expand,
    read_atoms,
    structure_template,
    template_from_map,
)
from cryoembed.simulate.density.template import DENSITY_PER_KDA

# kDa of what each 10 A map holds (five of SHREC 2021's hold half of the mass its table gives)
MAP_MASSES = {
    "1s3x": 42, "3qm1": 28, "3gl1": 84, "3h84": 72, "2cg9": 170, "3d2f": 236, "1u6g": 238, "3cf3": 240, "1bxn": 256,
    "1qvr": 271, "4cr2": 1309, "5mrc": 2900, "4v94_single": 950, "4v4r": 2300, "4v7r": 3300, "2uv8": 2600, "3j9i": 660,
    "6pxm": 470, "1f4a": 465, "4v4r_30S": 768,
}  # fmt: skip


def write_protein(path, residues=300, seed=0):
    """A compact blob of alanines without hydrogens."""
    generator = np.random.default_rng(seed)
    structure, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    for number in range(residues):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        middle = generator.uniform(-16, 16, 3)
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CB", "C")):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.occ = name, gemmi.Element(element), 1.0
            atom.pos = gemmi.Position(*(middle + generator.normal(0, 1, 3)))
            residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.write_pdb(str(path))
    return path


def test_mass_counts_the_hydrogens_the_file_leaves_out(tmp_path):
    positions, weights, mass = read_atoms(write_protein(tmp_path / "ala.pdb"))
    assert mass == pytest.approx(300 * 71.08 / 1000, rel=0.01)
    assert len(positions) == len(weights) == 1500
    template = structure_template(StructureSpec(path=tmp_path / "ala.pdb"), 10.0)
    assert template.name == "ala"
    assert template.integral == pytest.approx(mass * DENSITY_PER_KDA, rel=1e-4)


def test_water_is_left_out(tmp_path):
    path = write_protein(tmp_path / "a.pdb", residues=50)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("END", "TER"))]
    water = "HETATM 9999  O   HOH A 999      90.000  90.000  90.000  1.00  0.00           O"
    path.write_text("\n".join([*lines, water, "END"]) + "\n")
    assert len(read_atoms(path)[0]) == 250


def test_the_same_molecule_comes_out_of_atoms_and_of_a_map(tmp_path):
    atoms = structure_template(StructureSpec(path=write_protein(tmp_path / "a.pdb")), 5.0)
    write_mrc(tmp_path / "a.mrc", np.pad(atoms.density, 4) * 37.0, 5.0)
    for voxel_size in (5.0, 10.0):
        of_map = structure_template(StructureSpec(path=tmp_path / "a.mrc", mass_kda=atoms.mass_kda), voxel_size)
        assert of_map.integral == pytest.approx(atoms.integral, rel=0.02)
        centre = np.asarray(ndimage.center_of_mass(of_map.density)) - of_map.box_vox // 2
        assert np.abs(centre).max() < 0.05


def test_globs_become_one_spec_per_file(tmp_path):
    for name in ("b.pdb", "a.pdb"):
        write_protein(tmp_path / name, residues=5)
    found = expand(StructureSpec(path="*.pdb", split="test"), tmp_path)
    assert [(spec.name, spec.split) for spec in found] == [("a", "test"), ("b", "test")]
    with pytest.raises(InputError, match="no such file"):
        expand(StructureSpec(path="c*.pdb"), tmp_path)
    with pytest.raises(InputError, match="matches 2 files"):
        expand(StructureSpec(path="*.pdb", name="x"), tmp_path)


def test_no_atoms_is_an_error(tmp_path):
    (tmp_path / "empty.pdb").write_text("HEADER    NOTHING\nEND\n")
    (tmp_path / "broken.cif").write_text("this is no cif\n")
    with pytest.raises(InputError, match="no atoms"):
        structure_template(StructureSpec(path=tmp_path / "empty.pdb"), 10.0)
    with pytest.raises(InputError, match=r"broken\.cif"):
        structure_template(StructureSpec(path=tmp_path / "broken.cif"), 10.0)


def test_a_map_needs_a_mass_and_a_density(tmp_path):
    write_mrc(tmp_path / "a.mrc", np.zeros((9, 9, 9), np.float32), 10.0)
    with pytest.raises(InputError, match="give mass_kda"):
        structure_template(StructureSpec(path=tmp_path / "a.mrc"), 10.0)
    with pytest.raises(InputError, match="no positive mass"):
        structure_template(StructureSpec(path=tmp_path / "a.mrc", mass_kda=10), 10.0)
    with pytest.raises(InputError, match="no positive mass"):
        template_from_map("a", -np.ones((9, 9, 9)), 5.0, 10.0, 10.0)
    with pytest.raises(InputError, match="not positive"):
        template_from_map("a", np.ones((9, 9, 9)), 10.0, -3.0, 10.0)


def test_unknown_types_and_assemblies_are_named(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(InputError, match="unknown type"):
        structure_template(StructureSpec(path=tmp_path / "a.xyz"), 10.0)
    path = write_protein(tmp_path / "a.pdb", residues=3)
    with pytest.raises(InputError, match="no assembly '7'"):
        read_atoms(path, assembly="7")


def test_a_biological_assembly_weighs_its_copies(shared_data):
    path = shared_data / "structures/1bxn.pdb.gz"
    half, whole = (read_atoms(path, assembly=assembly)[2] for assembly in (None, "1"))
    assert whole == pytest.approx(2 * half, rel=1e-3)
    assert half == pytest.approx(256, rel=0.05)


def test_real_maps_of_all_scales_calibrate_to_one_density_per_kda(shared_data):
    interiors = []
    for name, mass in MAP_MASSES.items():
        (spec,) = expand(StructureSpec(path=f"maps/10A/{name}.mrc*", mass_kda=mass), shared_data)
        template = structure_template(spec, 10.0)
        assert template.integral == pytest.approx(mass * DENSITY_PER_KDA, rel=0.1)
        centre = np.asarray(ndimage.center_of_mass(template.density)) - template.box_vox // 2
        assert np.abs(centre).max() < 0.05
        interiors.append(template.interior)
    # raw, the maps' interiors differ twelvefold and more
    assert max(interiors) / min(interiors) < 2


@pytest.mark.parametrize("name", ["1bxn", "3j9i", "4v4r_30S"])
def test_atoms_and_the_real_map_of_one_complex_agree(shared_data, name):
    (atoms,) = expand(StructureSpec(path=f"structures/{name}.pdb.gz"), shared_data)
    of_atoms = structure_template(atoms, 10.0)
    (of_map,) = expand(StructureSpec(path=f"maps/10A/{name}.mrc*", mass_kda=of_atoms.mass_kda), shared_data)
    template = structure_template(of_map, 10.0)
    assert template.interior == pytest.approx(of_atoms.interior, rel=0.2)
    assert template.radius == pytest.approx(of_atoms.radius, abs=12)
