"""Phantoms: any mass, the symmetry they claim, endless and repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from cryoembed.simulate.density.families import FAMILIES
from cryoembed.simulate.density.phantoms import PhantomSpec, phantom, random_phantom
from cryoembed.simulate.density.template import DENSITY_PER_KDA, rotate


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mass", [100.0, 900.0, 4000.0])
def test_every_family_makes_every_mass(family, mass):
    template = phantom(PhantomSpec(name="x", family=family, mass_kda=mass, seed=4), 10.0)
    assert template.integral == pytest.approx(mass * DENSITY_PER_KDA, rel=0.02)
    faces = [template.density[side] for side in (0, -1)] + [template.density[:, side] for side in (0, -1)]
    assert max(face.max() for face in faces) < 0.02 * template.density.max()


@pytest.mark.parametrize(
    ("family", "symmetry"), [("ring", "C7"), ("ring", "C12"), ("barrel", "D4"), ("shell", "O"), ("blob", "C3")]
)
def test_a_phantom_has_the_symmetry_it_claims_and_no_more(family, symmetry):
    template = phantom(PhantomSpec(name="x", family=family, mass_kda=1200, symmetry=symmetry, seed=2), 10.0)
    assert template.symmetry == symmetry
    unchanged = [rotate(template, operator) for operator in Rotation.create_group(symmetry)]
    similarity = [np.corrcoef(turned.ravel(), template.density.ravel())[0, 1] for turned in unchanged]
    assert min(similarity) > 0.97
    tilted = rotate(template, Rotation.from_euler("x", 37, degrees=True))
    assert np.corrcoef(tilted.ravel(), template.density.ravel())[0, 1] < 0.95


def test_the_same_spec_is_the_same_density_and_another_seed_is_not():
    spec = PhantomSpec(name="x", family="two_body", mass_kda=500, seed=1)
    again, other = phantom(spec, 10.0), phantom(spec.model_copy(update={"seed": 2}), 10.0)
    first = phantom(spec, 10.0)
    assert np.array_equal(first.density, again.density)
    assert first.density.shape != other.density.shape or not np.allclose(first.density, other.density)


def test_random_phantoms_are_varied_and_repeatable():
    one, two = ([random_phantom(g, 10.0) for _ in range(12)] for g in map(np.random.default_rng, (5, 5)))
    assert [t.name for t in one] == [t.name for t in two]
    assert all(np.array_equal(a.density, b.density) for a, b in zip(one, two, strict=True))
    assert len({t.name for t in one}) == 12
    assert all(100 <= t.mass_kda <= 4000 for t in one)


def test_another_voxel_size_is_the_same_molecule():
    spec = PhantomSpec(name="x", family="barrel", mass_kda=700, symmetry="D7", seed=3)
    coarse, fine = phantom(spec, 10.0), phantom(spec, 5.0)
    assert fine.integral == pytest.approx(coarse.integral, rel=0.01)
    assert fine.radius == pytest.approx(coarse.radius, abs=15)


def test_an_impossible_symmetry_is_refused():
    with pytest.raises(ValidationError, match="symmetry"):
        PhantomSpec(name="x", family="ring", mass_kda=100, symmetry="Q4")
    with pytest.raises(ValidationError, match="C1"):
        PhantomSpec(name="x", family="rod", mass_kda=100, symmetry="C4")
