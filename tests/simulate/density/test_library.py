"""The library of species: complete, consistent, and it knows a species by id or file name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cryoembed.simulate.density.library import POINT_GROUP, group_order, known, library
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.rcsb import check_pdb_id
from cryoembed.simulate.density.structure_spec import StructureSpec, expand, split_of
from cryoembed.simulate.density.structures import structure_template

TEST_SPECIES = "1s3x 3qm1 3gl1 3h84 2cg9 3d2f 1u6g 3cf3 1bxn 1qvr 4cr2 5mrc 4v94".split()


def test_the_species_of_shrec_2021_are_the_test_set():
    assert sorted(name for name, species in library().items() if species.split == "test") == sorted(TEST_SPECIES)
    assert {name for name, species in library().items() if species.split == "validation"} == {"3sn6", "6rd4", "4v7r"}
    assert len(library()) == 42


def test_every_row_is_sound():
    for name, species in library().items():
        assert re.fullmatch("[1-9][a-z0-9]{3}", name)
        assert re.fullmatch(POINT_GROUP, species.symmetry)
        assert species.mass_kda > 10
        assert species.name


@pytest.mark.parametrize("text", ["4v4r", "4V4R", "4v4r_30S", "pdb4v4r", "4v4r-assembly1", "4v4r.cif"])
def test_a_species_is_known_by_id_and_file_name(text):
    assert known(text).pdb == "4v4r"


@pytest.mark.parametrize("name", list(library()))
def test_both_spellings_of_an_id_are_one_species(name):
    for text in (name, f"pdb_0000{name}", f"PDB_0000{name.upper()}", f"pdb_0000{name}_chainA", f"pdb_0000{name}.cif"):
        assert known(text) is library()[name]
    assert check_pdb_id(f" PDB_0000{name.upper()}") == name
    assert split_of(StructureSpec(pdb=f"pdb_0000{name}")) == library()[name].split
    assert split_of(StructureSpec(path=Path(f"pdb_0000{name}.cif.gz"))) == library()[name].split


INWARD = ("5tj6", "5vai", "6rd4")  # gating ring, G protein, F1


@pytest.mark.parametrize("name", ["4pe5", "5ide", "5kxi", "5wek", *INWARD])
def test_the_large_part_of_membrane_proteins_lies_on_its_side(shared_data, name):
    path = next((shared_data / "maps/10A_membrane").glob(f"{name}*"))
    (spec,) = expand(StructureSpec(path=path, mass_kda=known(name).mass_kda, membrane=True))
    template = structure_template(spec, 10.0)
    assert -template.origin_offset_zyx[0] > 20  # A: the centre of mass above the membrane, before the flip
    assert template.inward == (name in INWARD)
    assert expand(StructureSpec(path=path, mass_kda=100, flip=False))[0].flip is False


@pytest.mark.parametrize("text", ["pdb_00011s3x", "4v4rx", "my_ribosome", "ribosome_4v4r", "", "9zzz"])
def test_other_names_are_unknown(text):
    assert known(text) is None


@pytest.mark.parametrize(
    ("group", "order"), [("C1", 1), ("C7", 7), ("D7", 14), ("D12", 24), ("T", 12), ("O", 24), ("I", 60)]
)
def test_point_groups_have_their_order(group, order):
    assert group_order(group) == order


def test_masses_are_those_of_the_atoms(shared_data):
    checked = 0
    for path in sorted((shared_data / "structures").iterdir()):
        species = known(path.name.split(".")[0])
        if species is None or "_" in path.name:
            continue
        measured = read_molecule(path, assembly=species.assembly).mass_kda
        assert measured == pytest.approx(species.mass_kda, rel=0.03), species
        checked += 1
    assert checked > 20
