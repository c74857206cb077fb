"""Cached templates: the same when nothing changed, made anew when anything did, and never in the way."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cryoembed.simulate.density import cache, structures
from cryoembed.simulate.density.cache import cache_folder
from cryoembed.simulate.density.structure_spec import StructureSpec
from cryoembed.simulate.density.structures import structure_template
from tests.simulate.density.proteins import write_protein


@pytest.fixture
def made(tmp_path, monkeypatch):
    """An empty cache, and a count of the molecules that were really read."""
    monkeypatch.setenv("CRYOEMBED_CACHE", str(tmp_path / "cache"))
    reads = []
    real = structures.read_molecule
    monkeypatch.setattr(structures, "read_molecule", lambda path, **rest: reads.append(path) or real(path, **rest))
    return reads


def entries():
    return sorted((cache_folder() / "templates").glob("*.safetensors"))


def test_the_second_time_a_template_is_read_not_made(tmp_path, made):
    spec = StructureSpec(path=write_protein(tmp_path / "a.pdb", residues=20), membrane=True)
    first, second = structure_template(spec, 10.0), structure_template(spec, 10.0)
    assert len(made) == 1
    assert np.array_equal(first.density, second.density)
    for field in ("name", "voxel_size", "mass_kda", "symmetry", "split", "origin_offset_zyx", "membrane"):
        assert getattr(first, field) == getattr(second, field)
    assert first.volts_per_unit == second.volts_per_unit


def test_name_and_split_are_the_askers(tmp_path, made):
    path = write_protein(tmp_path / "a.pdb", residues=20)
    structure_template(StructureSpec(path=path), 10.0)
    other = structure_template(StructureSpec(path=path, name="other", split="test"), 10.0)
    assert (other.name, other.split, len(made)) == ("other", "test", 1)


def test_anything_that_changes_the_density_makes_another_entry(tmp_path, made):
    path = write_protein(tmp_path / "a.pdb", residues=20)
    structure_template(StructureSpec(path=path), 10.0)
    structure_template(StructureSpec(path=path), 9.0)
    structure_template(StructureSpec(path=path), 10.0, resolution=20.0)
    structure_template(StructureSpec(path=path, mass_kda=33), 10.0)
    structure_template(StructureSpec(path=path, b_factors=True), 10.0)
    write_protein(path, residues=20, seed=1)
    structure_template(StructureSpec(path=path), 10.0)
    assert len(made) == len(entries()) == 6


def test_a_new_schema_makes_other_entries(tmp_path, made, monkeypatch):
    spec = StructureSpec(path=write_protein(tmp_path / "a.pdb", residues=20))
    structure_template(spec, 10.0)
    monkeypatch.setattr(cache, "SCHEMA", cache.SCHEMA + 1)
    structure_template(spec, 10.0)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_entry_is_made_anew(tmp_path, made, damage):
    spec = StructureSpec(path=write_protein(tmp_path / "a.pdb", residues=20))
    first = structure_template(spec, 10.0)
    (entry,) = entries()
    whole = entry.read_bytes()
    entry.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"x" * 999, "empty": b""}[damage])
    again = structure_template(spec, 10.0)
    assert np.array_equal(first.density, again.density)
    assert entry.read_bytes() == whole
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, made, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CRYOEMBED_CACHE", str(tmp_path / "file"))
    template = structure_template(StructureSpec(path=write_protein(tmp_path / "a.pdb", residues=20)), 10.0)
    assert template.mass_kda > 1
    assert "not cached" in caplog.text


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / f"{name}.safetensors").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}.safetensors", (1000 - age, 1000 - age))
    monkeypatch.setattr(cache, "_LARGEST", 250)
    cache._prune(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["middle", "new"]


def test_the_folder_is_the_platforms_unless_given(monkeypatch, tmp_path):
    monkeypatch.setenv("CRYOEMBED_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CRYOEMBED_CACHE")
    assert cache_folder().name == "cryoembed"
