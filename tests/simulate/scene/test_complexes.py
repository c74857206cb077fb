"""Complexes: parts in contact, masses add up, and the split of the strictest part."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.dataset import DatasetConfig, shared_templates, simulate_sample
from cryoembed.simulate.scene.complexes import ComplexSpec, complex_template, with_complexes


def test_parts_touch_and_their_masses_add_up(species):
    known = {template.name: template for template in species}
    made = complex_template(ComplexSpec(name="pair", parts=("two", "blob")), known)
    assert made.mass_kda == 950
    assert ndimage.label(made.mask(0.15))[1] == 1  # one body
    volumes = known["two"].mask().sum() + known["blob"].mask().sum()
    assert made.mask().sum() == pytest.approx(volumes, rel=0.15)  # side by side, not in one another


def test_the_same_seed_is_the_same_complex_and_another_is_not(species):
    known = {template.name: template for template in species}
    made = [complex_template(ComplexSpec(name="c", parts=("two", "blob"), seed=seed), known) for seed in (1, 1, 2)]
    assert np.array_equal(made[0].density, made[1].density)
    assert made[0].density.shape != made[2].density.shape or not np.allclose(made[0].density, made[2].density)


def test_complexes_come_after_the_species_and_may_be_parts(species):
    specs = [ComplexSpec(name="pair", parts=("blob", "blob")), ComplexSpec(name="four", parts=("pair", "pair"))]
    made = with_complexes(specs, species)
    assert [template.name for template in made][-2:] == ["pair", "four"]
    assert made[-1].mass_kda == 600


def test_a_complex_with_a_test_species_is_a_test_species(species):
    held = [replace(species[0], split="test"), species[1]]
    assert with_complexes([ComplexSpec(name="c", parts=("blob", "ring"))], held)[-1].split == "test"


def test_unknown_parts_and_taken_names_are_errors(species):
    known = {template.name: template for template in species}
    with pytest.raises(InputError, match="no species rnap to be a part; known: blob"):
        complex_template(ComplexSpec(name="c", parts=("blob", "rnap")), known)
    with pytest.raises(InputError, match="has this name"):
        complex_template(ComplexSpec(name="ring", parts=("blob", "two")), known)


def test_a_complex_of_a_membrane_protein_is_refused(species, mushroom):
    known = {template.name: template for template in (*species, mushroom)}
    with pytest.raises(InputError, match="mushroom sits in membranes"):
        complex_template(ComplexSpec(name="c", parts=("blob", "mushroom")), known)


def test_many_parts_need_no_box_of_all_of_them(species):
    known = {template.name: template for template in species}
    tracemalloc.start()
    made = complex_template(ComplexSpec(name="c", parts=("two", "two", "two", "two")), known)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.mass_kda == 4 * known["two"].mass_kda
    assert peak < 8 * (sum(part.box_vox for part in [known["two"]] * 4) * 2) ** 3  # one float64 volume of that box


def test_complexes_are_made_once_for_all_models(monkeypatch):
    phantoms = [{"name": "one", "family": "blob", "mass_kda": 150}]
    settings = {"phantoms": phantoms, "complexes": [{"name": "c", "parts": ["one", "one"]}], "counts": 1}
    config = parse_config(DatasetConfig, {**settings, "shape": [24, 32, 32]})
    shared = shared_templates(config)
    assert [template.name for template in shared] == ["one", "c"]
    monkeypatch.delattr("cryoembed.simulate.scene.complexes.complex_template")
    assert sorted(simulate_sample(config, 1, shared).particles.labels) == ["c", "one"]


def test_a_complex_of_one_part_is_refused():
    with pytest.raises(ValueError, match="at least two parts"):
        ComplexSpec(name="c", parts=("blob",))
