"""Structures: one calibrated template per file, and bad input says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.mrc import write_mrc
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import DENSITY_PER_KDA
from tests.simulate.density.proteins import write_protein


def test_the_same_molecule_comes_out_of_atoms_and_of_a_map(tmp_path):
    atoms = structure_template(StructureSpec(path=write_protein(tmp_path / "a.pdb")), 5.0)
    write_mrc(tmp_path / "a.mrc", np.pad(atoms.density, 4) * 37.0, 5.0)
    for voxel_size in (5.0, 10.0):
        of_map = structure_template(StructureSpec(path=tmp_path / "a.mrc", mass_kda=atoms.mass_kda), voxel_size)
        assert of_map.integral == pytest.approx(atoms.integral, rel=0.02)
        centre = np.asarray(ndimage.center_of_mass(of_map.density)) - of_map.box_vox // 2
        assert np.abs(centre).max() < 0.05


@pytest.mark.parametrize("voxel_size", [2.0, 5.0, 10.0, 20.0])
def test_the_integral_is_the_mass_at_every_voxel_size(tmp_path, voxel_size):
    template = structure_template(StructureSpec(path=write_protein(tmp_path / "a.pdb")), voxel_size)
    assert template.integral == pytest.approx(300 * 71.08 / 1000 * DENSITY_PER_KDA, rel=0.01)
    assert template.volts_per_unit == pytest.approx(3.3, rel=0.1)


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


def test_a_map_without_a_voxel_size_asks_for_it(tmp_path):
    ball = np.zeros((15, 15, 15), np.float32)
    ball[5:10, 5:10, 5:10] = 1
    write_mrc(tmp_path / "a.mrc", ball, 10.0)
    with open(tmp_path / "a.mrc", "r+b") as file:  # cell edges in the header
        file.seek(40)
        file.write(bytes(12))
    with pytest.raises(InputError, match="give map_voxel_size"):
        structure_template(StructureSpec(path=tmp_path / "a.mrc", mass_kda=100), 10.0)
    spec = StructureSpec(path=tmp_path / "a.mrc", mass_kda=100, map_voxel_size=10.0)
    assert structure_template(spec, 10.0).mass_kda == 100


def test_unknown_types_are_named(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(InputError, match="unknown type"):
        structure_template(StructureSpec(path=tmp_path / "a.xyz"), 10.0)


def test_settings_of_the_other_kind_are_refused(tmp_path):
    path = write_protein(tmp_path / "a.pdb", residues=3)
    with pytest.raises(InputError, match="component, contrast is for maps"):
        structure_template(StructureSpec(path=path, component="largest", contrast="dark"), 10.0)
    write_mrc(tmp_path / "a.mrc", np.ones((9, 9, 9), np.float32), 10.0)
    with pytest.raises(InputError, match="assembly is for atomic models"):
        structure_template(StructureSpec(path=tmp_path / "a.mrc", assembly="1"), 10.0)


def test_a_membrane_protein_remembers_where_its_membrane_is(tmp_path):
    ball = np.zeros((25, 25, 25), np.float32)
    ball[16:21, 9:14, 10:15] = 1  # centre at (18, 11, 12); the box centre at (12, 12, 12)
    write_mrc(tmp_path / "a.mrc", ball, 10.0)
    for voxel_size in (10.0, 8.0):
        spec = StructureSpec(path=tmp_path / "a.mrc", mass_kda=100, membrane=True)
        template = structure_template(spec, voxel_size)
        assert template.membrane
        assert template.origin_offset_zyx == pytest.approx((-60.0, 10.0, 0.0), abs=0.5)


def test_the_origin_of_a_pdb_file_is_remembered(tmp_path):
    path = write_protein(tmp_path / "a.pdb")
    from cryoembed.simulate.density.molecule import read_molecule

    centre = read_molecule(path).positions_zyx.mean(axis=0)
    template = structure_template(StructureSpec(path=path), 10.0)
    assert template.origin_offset_zyx == pytest.approx(tuple(-centre), abs=0.5)


@pytest.mark.parametrize("name", ["1bxn", "3j9i", "4v4r_30S"])
def test_atoms_and_the_real_map_of_one_complex_agree(shared_data, name):
    (atoms,) = expand(StructureSpec(path=f"structures/{name}.pdb.gz"), shared_data)
    of_atoms = structure_template(atoms, 10.0)
    (of_map,) = expand(StructureSpec(path=f"maps/10A/{name}.mrc*", mass_kda=of_atoms.mass_kda), shared_data)
    template = structure_template(of_map, 10.0)
    assert template.interior == pytest.approx(of_atoms.interior, rel=0.2)
    assert template.radius == pytest.approx(of_atoms.radius, abs=12)
