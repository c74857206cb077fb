"""Potentials: in volts as the tables say, shaped as gemmi's own calculator has it, and less than nothing in lipids."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.materials import ICE_POTENTIAL, PROTEIN_POTENTIAL
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.potential import POTENTIAL_PER_SCATTERING, excluded_volume, potential, scattering
from cryoembed.simulate.density.template import DENSITY_PER_KDA
from tests.simulate.density.proteins import protein, write_protein


def one_atom(folder, element: str, b_factor: float = 0.0):
    line = (
        f"HETATM    1 {element:>2s}   LIG A   1    {0:8.3f}{0:8.3f}{0:8.3f}  1.00{b_factor:6.2f}          {element:>2s}"
    )
    (folder / "one.pdb").write_text(line + "\nEND\n")
    return read_molecule(folder / "one.pdb")


def test_an_atom_displaces_ice(tmp_path):
    atom = one_atom(tmp_path, "N")
    displaced = potential(atom, 2.0, sigma=3.0, solvent=False).integral - potential(atom, 2.0, sigma=3.0).integral
    assert displaced == pytest.approx(ICE_POTENTIAL * 2.49, rel=1e-6)
    assert excluded_volume(np.array([6, 6, 92])).tolist()[:2] == [16.44, 16.44]


@pytest.mark.parametrize(("element", "factor"), [("C", 2.5088), ("O", 1.9834), ("P", 5.4876), ("AU", 10.5714)])
def test_the_integral_of_an_atom_is_its_scattering_factor_in_volts(tmp_path, element, factor):
    atom = one_atom(tmp_path, element)
    free = potential(atom, 2.0, sigma=3.0, solvent=False, box_vox=21)
    assert free.volts.sum() * 8 == pytest.approx(47.878 * factor, rel=1e-3)


def test_the_shape_is_that_of_gemmis_calculator(tmp_path):
    """gemmi knows no implicit hydrogens and samples at points; ours is told to do likewise."""
    structure = protein(residues=30)
    for residue in structure[0][0]:
        residue.name = "LIG"  # without tabulated hydrogens
    structure.cell = gemmi.UnitCell(96, 96, 96, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.write_pdb(str(tmp_path / "a.pdb"))
    molecule = read_molecule(tmp_path / "a.pdb")
    sigma = 2.0
    ours = potential(molecule, 1.0, sigma=sigma, solvent=False, b_factors=True)

    calculator = gemmi.DensityCalculatorE()
    calculator.d_min, calculator.rate, calculator.cutoff = 2.0, 1.0, 1e-7
    calculator.blur = 8 * np.pi**2 * (sigma**2 + 1 / 12)  # a voxel of 1 A adds the variance 1/12
    calculator.grid.set_size(96, 96, 96)
    model = gemmi.read_structure(str(tmp_path / "a.pdb"))
    calculator.grid.setup_from(model)
    calculator.grid.set_size(96, 96, 96)
    calculator.add_model_density_to_grid(model[0])
    oracle = POTENTIAL_PER_SCATTERING * np.array(calculator.grid, copy=False)  # x, y, z
    places = np.indices(ours.volts.shape).reshape(3, -1).T - ours.volts.shape[0] // 2 + ours.centre_zyx
    sampled = ndimage.map_coordinates(oracle, places.T[::-1], order=3, mode="grid-wrap")
    assert sampled.sum() == pytest.approx(ours.volts.sum(), rel=1e-3)
    assert np.abs(sampled - ours.volts.ravel()).max() < 0.005 * ours.volts.max()


def test_b_factors_blur_and_keep_the_integral(tmp_path):
    sharp, blurred = (
        potential(one_atom(tmp_path, "C", 300.0), 1.0, sigma=1.0, solvent=False, b_factors=b, box_vox=31)
        for b in (False, True)
    )
    assert blurred.volts.sum() == pytest.approx(sharp.volts.sum(), rel=1e-3)
    assert blurred.volts.max() < 0.3 * sharp.volts.max()


@pytest.mark.parametrize("voxel_size", [2.0, 5.0, 10.0, 20.0])
def test_no_volt_is_lost_at_any_voxel_size(tmp_path, voxel_size):
    molecule = read_molecule(write_protein(tmp_path / "a.pdb"))
    made = potential(molecule, voxel_size, sigma=max(2.7, voxel_size / 2))
    assert made.volts.sum() * voxel_size**3 == pytest.approx(made.integral, rel=2e-3)


def test_protein_of_the_density_of_protein_has_its_potential(tmp_path):
    molecule = read_molecule(write_protein(tmp_path / "a.pdb"))
    made = potential(molecule, 5.0, sigma=2.7)
    assert made.integral / (molecule.mass_kda * DENSITY_PER_KDA) == pytest.approx(PROTEIN_POTENTIAL, rel=0.1)


def test_an_element_beyond_the_table_scatters_by_its_electrons():
    amplitudes, _ = scattering(100)
    assert amplitudes.sum() == pytest.approx(2.5088 * 100 / 6, rel=0.01)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    molecule = read_molecule(write_protein(tmp_path / "a.pdb", residues=20))
    with pytest.raises(InputError, match="smaller than the molecule"):
        potential(molecule, 5.0, sigma=2.7, box_vox=5)
    with pytest.raises(InputError, match="larger voxel size"):
        potential(molecule, 0.05, sigma=2.7)


NUCLEIC = ("1xnr.cif.gz", "4v4r_30S.pdb.gz", "4UPY.pdb.gz")
PROTEINS = ("1bxn.pdb.gz", "1s3x.pdb.gz", "2zwh.pdb.gz", "3j9i.pdb.gz", "4f5s.pdb.gz", "6z6u.pdb.gz", "1igt.pdb.gz")


@pytest.mark.parametrize("name", NUCLEIC + PROTEINS)
def test_mass_and_potential_tell_the_same_scale(shared_data, name):
    molecule = read_molecule(shared_data / "structures" / name)
    made = potential(molecule, 10.0, sigma=5.0)
    assert made.integral / (molecule.mass_kda * DENSITY_PER_KDA) == pytest.approx(PROTEIN_POTENTIAL, rel=0.1)
