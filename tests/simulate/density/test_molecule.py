"""Atomic models: atoms weigh what they should, and each is counted once."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.density.materials import PROTEIN_POTENTIAL
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.potential import potential
from cryoembed.simulate.density.template import DENSITY_PER_KDA
from tests.simulate.density.proteins import add_lines, protein, write_protein


def test_mass_counts_the_hydrogens_the_file_leaves_out(tmp_path):
    molecule = read_molecule(write_protein(tmp_path / "ala.pdb"))
    assert molecule.mass_kda == pytest.approx(300 * 71.08 / 1000, rel=0.01)
    assert len(molecule) == 1500


def test_hydrogens_in_the_file_are_not_added_again(tmp_path):
    without = read_molecule(write_protein(tmp_path / "a.pdb", residues=1)).mass_kda
    hydrogens = [
        f"ATOM  {90 + k:5d}  H{k}  ALA A   1    {k:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           H" for k in range(5)
    ]
    path = add_lines(tmp_path / "a.pdb", *hydrogens)
    assert read_molecule(path).mass_kda == pytest.approx(without, rel=1e-3)


@pytest.mark.parametrize("name", ["HOH", "SOL", "DOD", "DUM"])
def test_water_and_dummies_are_left_out_and_ligands_stay(tmp_path, name):
    path = add_lines(
        write_protein(tmp_path / "a.pdb", residues=50),
        f"HETATM 9998  O   {name} A 999      90.000  90.000  90.000  1.00  0.00           O",
        "HETATM 9999 MG    MG A 998      20.000  20.000  20.000  1.00  0.00          MG",
    )
    molecule = read_molecule(path)
    assert len(molecule) == 251
    assert 12 in molecule.elements


def test_alternative_places_of_an_atom_count_as_one(tmp_path):
    structure = protein(residues=20)
    mass = _mass(structure, tmp_path)
    for share in (0.5, 1.0):  # sums to 1, or to a careless 2
        split = structure.clone()
        residue = split[0][0][3]
        for atom in residue:
            atom.occ, atom.altloc = share, "A"
        for other in [atom.clone() for atom in residue]:  # adding moves the residue's atoms in memory
            other.altloc = "B"
            other.pos = gemmi.Position(other.pos.x + 1, other.pos.y, other.pos.z)
            residue.add_atom(other)
        assert _mass(split, tmp_path) == pytest.approx(mass, rel=1e-6)


def test_the_first_of_several_models_is_taken(tmp_path):
    structure = protein(residues=20)
    second = structure[0].clone()
    second.num = 2
    structure.add_model(second)
    assert _mass(structure, tmp_path) == pytest.approx(_mass(protein(residues=20), tmp_path))


def test_a_trace_of_one_atom_a_residue_weighs_its_residues(tmp_path):
    structure = protein(residues=200)
    for residue in structure[0][0]:
        for name in ("N", "C", "O", "CB"):
            residue.remove_atom(name, "\0")
    assert _mass(structure, tmp_path) == pytest.approx(200 * 71.08 / 1000, rel=0.01)


def traced(path, keep: set[str], folder):
    """The file's model with these atoms only."""
    structure = gemmi.read_structure(str(path))
    for residue in (residue for chain in structure[0] for residue in chain):
        for name in {atom.name for atom in residue if atom.name not in keep or atom.element.name == "Ca"}:
            residue.remove_atom(name, "*")
    structure.remove_empty_chains()
    structure.write_pdb(str(folder / "trace.pdb"))
    return read_molecule(folder / "trace.pdb")


def test_traces_have_the_volts_and_the_centre_of_all_atoms(shared_data, tmp_path):
    path = shared_data / "structures/4v4r_30S.pdb.gz"
    whole, mass = potential(read_molecule(path), 10.0, sigma=5.0), read_molecule(path).mass_kda
    for keep, volts in (({"CA"}, PROTEIN_POTENTIAL), ({"P"}, 3.48)):  # 3.48: materials.PROTEIN_POTENTIAL, of RNA
        trace = traced(path, keep, tmp_path)
        made = potential(trace, 10.0, sigma=5.0)
        assert made.integral / (trace.mass_kda * DENSITY_PER_KDA) == pytest.approx(volts, rel=0.04)
    both = potential(traced(path, {"CA", "P"}, tmp_path), 10.0, sigma=5.0)
    assert both.integral / whole.integral == pytest.approx(1, rel=0.02)
    assert traced(path, {"CA", "P"}, tmp_path).mass_kda == pytest.approx(mass, rel=0.01)
    assert np.abs(both.centre_zyx - whole.centre_zyx).max() < 0.5


def test_unusable_files_say_why(tmp_path):
    path = write_protein(tmp_path / "a.pdb", residues=3)
    with pytest.raises(InputError, match="no assembly '7'; it has none"):
        read_molecule(path, assembly="7")
    path.write_text(path.read_text().replace("  1.00", "  0.00"))
    with pytest.raises(InputError, match="occupancies"):
        read_molecule(path)
    with pytest.raises(InputError, match="not readable"):
        read_molecule(tmp_path / "absent.pdb")


def test_a_file_of_water_has_no_atoms(tmp_path):
    path = tmp_path / "water.pdb"
    path.write_text("HETATM    1  O   HOH A   1      90.000  90.000  90.000  1.00  0.00           O\nEND\n")
    with pytest.raises(InputError, match="no atoms"):
        read_molecule(path)


def _mass(structure: gemmi.Structure, folder) -> float:
    structure.write_pdb(str(folder / "x.pdb"))
    return read_molecule(folder / "x.pdb").mass_kda
