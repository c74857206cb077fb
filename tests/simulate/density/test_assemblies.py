"""Assemblies: every copy is there, and weighs what it should."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from cryoembed.simulate.density.molecule import read_molecule
from tests.simulate.density.proteins import write_protein

TWOFOLD = """REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000      100.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        7.00000
"""


def test_an_assembly_has_all_its_copies(tmp_path):
    path = write_protein(tmp_path / "a.pdb", residues=40)
    path.write_text(TWOFOLD + path.read_text())
    one, two = read_molecule(path), read_molecule(path, assembly="1")
    assert two.mass_kda == pytest.approx(2 * one.mass_kda)
    (_, first), (_, second) = two.blocks()
    assert np.allclose(first, one.positions_zyx)
    assert np.allclose(second, one.positions_zyx * [1, -1, -1] + [7.0, 0.0, 100.0])
    assert len(read_molecule(path, copies=2)) == 2 * len(read_molecule(path, copies=3)) == 400


def test_a_real_assembly_weighs_its_copies(shared_data):
    path = shared_data / "structures/1bxn.pdb.gz"
    half, whole = read_molecule(path), read_molecule(path, assembly="1")
    assert whole.mass_kda == pytest.approx(2 * half.mass_kda, rel=1e-3)
    assert half.mass_kda == pytest.approx(256, rel=0.05)
    assert half.sequence_kda == pytest.approx(279, rel=0.01)


@pytest.mark.parametrize(("name", "radius"), [("1IHM.pdb.gz", 200), ("1f2n.cif.gz", 145)])
def test_a_virus_is_a_shell_of_sixty(shared_data, name, radius):
    path = shared_data / "structures" / name
    whole = read_molecule(path, copies=60)
    assert len(whole) == 60 * len(read_molecule(path))
    centre = np.mean([positions.mean(axis=0) for _, positions in whole.blocks()], axis=0)
    distances = np.concatenate([np.linalg.norm(positions - centre, axis=1) for _, positions in whole.blocks()])
    assert 80 < distances.min() < distances.max() == pytest.approx(radius, rel=0.15)


def _mass(structure: gemmi.Structure, folder) -> float:
    structure.write_pdb(str(folder / "x.pdb"))
    return read_molecule(folder / "x.pdb").mass_kda
