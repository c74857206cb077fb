"""What the user asks for: globs, ids, splits, and settings that make no sense."""

from __future__ import annotations

import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from tests.simulate.density.proteins import write_protein


def test_globs_become_one_spec_per_file(tmp_path):
    for name in ("b.pdb", "a.pdb"):
        write_protein(tmp_path / name, residues=5)
    found = expand(StructureSpec(path="*.pdb", split="test"), tmp_path)
    assert [(spec.name, spec.split) for spec in found] == [("a", "test"), ("b", "test")]
    with pytest.raises(InputError, match="no such file"):
        expand(StructureSpec(path="c*.pdb"), tmp_path)
    with pytest.raises(InputError, match="matches 2 files"):
        expand(StructureSpec(path="*.pdb", name="x"), tmp_path)


def test_a_known_species_gets_its_split_from_the_library(tmp_path, caplog):
    write_protein(tmp_path / "1BXN_fixed.pdb", residues=5)
    (spec,) = expand(StructureSpec(path="1BXN_fixed.pdb"), tmp_path)
    assert (spec.name, spec.split) == ("1BXN_fixed", "test")
    (spec,) = expand(StructureSpec(path="1BXN_fixed.pdb", split="train"), tmp_path)
    assert spec.split == "train"
    assert "known as test" in caplog.text


def test_trainings_refuse_a_test_species_that_is_named_by_its_id_alone(tmp_path):
    from cryoembed.views.structures import load_structures

    spec = StructureSpec(path=write_protein(tmp_path / "4cr2.pdb", residues=5))
    with pytest.raises(InputError, match="of the test split"):
        load_structures([spec], 10.0)
    with pytest.raises(InputError, match="4v94 is of the test split"):  # and nothing is downloaded
        load_structures([StructureSpec(pdb="4v94")], 10.0)


@pytest.mark.parametrize("symmetry", ["C0", "c4", "D1", "I3", "octahedral", ""])
def test_a_symmetry_that_is_no_point_group_is_refused(symmetry):
    with pytest.raises(InputError, match="expected a point group"):
        parse_config(StructureSpec, {"path": "a.pdb", "symmetry": symmetry})


def test_either_a_path_or_an_id():
    for values in ({}, {"path": "a.pdb", "pdb": "4ug0"}):
        with pytest.raises(InputError, match="either path"):
            parse_config(StructureSpec, values)
    with pytest.raises(InputError, match="four characters"):
        parse_config(StructureSpec, {"pdb": "../etc"})
    with pytest.raises(InputError, match="quote it"):
        parse_config(StructureSpec, {"pdb": 1e10})
