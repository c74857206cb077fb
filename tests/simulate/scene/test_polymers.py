"""Filaments, chains and complexes in a sample: named in the settings, placed beside everything else, in the truth."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.particles import is_particle
from cryoembed.simulate.dataset import DatasetConfig, shared_templates, simulate_model
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.sample import SampleConfig
from cryoembed.simulate.scene.truth import truth_is_consistent

SETTINGS = {
    "shape": [48, 80, 80],
    "phantoms": [
        {"name": "blob", "family": "blob", "mass_kda": 200, "seed": 1},
        {"name": "two", "family": "two_body", "mass_kda": 500, "seed": 2},
    ],
    "counts": {"blob": 6, "pair": 2},
    "filaments": [
        {"kind": "microtubule", "count": [1, 1]},
        {"kind": "actin", "count": [2, 2], "length": [200, 400]},
    ],
    "chains": [
        {"kind": "dna", "count": [1, 1], "length": [600, 1200], "beads": "nucleosome"},
        {"kind": "dna", "count": [1, 1], "length": [400, 800], "beads": "blob"},
    ],
    "complexes": [{"name": "pair", "parts": ["blob", "blob"]}],
    "vesicles": [1, 1],
    "fiducials": [1, 1],
}


def _compose(seed=0, **changes):
    config = parse_config(DatasetConfig, {**SETTINGS, **changes})
    return compose(config, shared_templates(config), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def scene():
    return _compose()


def test_everything_is_placed_and_the_truth_is_consistent(scene):
    labels, counts = np.unique(scene.particles.labels, return_counts=True)
    found = dict(zip(labels, counts, strict=True))
    assert scene.missed == {}
    assert found["microtubule"] == 1
    assert found["actin"] == 2
    assert found["dna"] == 2
    assert found["pair"] == 2
    assert found["blob"] > 6  # those on the DNA are more
    solid = is_particle(scene.particles.labels)
    assert truth_is_consistent(scene)[solid].all()


def test_filaments_have_no_rotation_and_beads_have_one(scene):
    rotated = dict(zip(scene.particles.labels, scene.is_macromolecule, strict=True))
    assert not any(rotated[label] for label in ("microtubule", "actin", "dna"))
    assert rotated["nucleosome"]
    assert rotated["pair"]


def test_class_masks_agree_with_the_occupancy_but_for_lumina(scene):
    of_row = np.array([0, *(scene.classes.index(label) + 1 for label in scene.particles.labels)])
    expected = of_row[scene.occupancy_mask]
    differ = scene.class_mask != expected
    assert (scene.class_mask[differ] == 0).all()
    assert set(np.unique(expected[differ])) <= {scene.classes.index("microtubule") + 1}
    assert 0 < scene.mask_of("microtubule").sum() < (expected == scene.classes.index("microtubule") + 1).sum()


def test_paths_of_filaments_are_in_the_truth(scene):
    table = scene.filaments
    assert list(table.columns) == ["instance", "label", "point", "z", "y", "x"]
    assert set(table.label) == {"microtubule", "actin", "dna"}
    labels = dict(zip(scene.particles.column("instance", 0), scene.particles.labels, strict=True))
    assert all(labels[row.instance] == row.label for row in table.itertuples())
    for instance, points in table.groupby("instance"):
        assert list(points.point) == list(range(len(points)))
        row = scene.particles.positions_zyx[instance - 1]
        assert np.linalg.norm(points[["z", "y", "x"]].to_numpy() - row, axis=1).min() < 6.0


def test_the_same_seed_composes_the_same_sample(scene):
    again = _compose()
    assert np.array_equal(scene.density, again.density)
    assert scene.filaments.equals(again.filaments)


def test_filaments_stay_in_the_ice(generator):
    scene = _compose(1, envelope={"kind": "slab", "thickness_nm": [40, 40]}, vesicles=[0, 0])
    assert not scene.occupancy_mask[~scene.sample_mask].any()
    assert "microtubule" in scene.particles.labels


def test_a_sample_may_be_nothing_but_chromatin():
    settings = {"models": 1, "shape": [40, 64, 64], "chains": [{"beads": "nucleosome", "length": [800, 1500]}]}
    config = parse_config(DatasetConfig, settings)
    scene, imaged = simulate_model(config, 0)
    assert set(scene.particles.labels) == {"dna", "nucleosome"}
    assert imaged.reconstruction.shape == (40, 64, 64)


def test_a_subunit_does_not_swim_unless_it_is_counted():
    actin = [{"kind": "actin", "count": [1, 1], "length": [300, 300], "structure": "two"}]
    scene = _compose(counts=4, filaments=actin, complexes=[], chains=[])
    assert list(np.unique(scene.particles.labels)) == ["actin", "blob", "fiducial", "vesicle"]


def test_an_unknown_subunit_is_an_error():
    with pytest.raises(InputError, match="'tubulin': no such species; known: blob, two"):
        _compose(filaments=[{"kind": "actin", "structure": "tubulin"}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filaments": [{"kind": "flagellum"}]}, "filaments"),
        ({"chains": [{"kind": "protein"}]}, "chains"),
        ({"complexes": [{"name": "c", "parts": ["a"]}]}, "at least two parts"),
        ({"filaments": [{"kind": "actin", "lenght": [1, 2]}]}, "lenght"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        parse_config(SampleConfig, {**SETTINGS, **changes})


def test_counts_without_species_are_an_error():
    with pytest.raises(InputError, match="nothing to count"):
        parse_config(SampleConfig, {"filaments": [{"kind": "actin"}], "counts": 3})
