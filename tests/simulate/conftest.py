"""Small species and generators that the simulator's tests share."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.density.template import Template

VOXEL = 10.0


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def species() -> list[Template]:
    """One small phantom of each kind of trouble: compact, hollow, long, symmetric, two-bodied."""
    specs = [
        PhantomSpec(name="blob", family="blob", mass_kda=150, symmetry="C1", seed=1),
        PhantomSpec(name="ring", family="ring", mass_kda=400, symmetry="C8", seed=2),
        PhantomSpec(name="rod", family="rod", mass_kda=250, seed=3),
        PhantomSpec(name="shell", family="shell", mass_kda=500, symmetry="O", seed=4),
        PhantomSpec(name="two", family="two_body", mass_kda=800, seed=5),
    ]
    return [phantom(spec, VOXEL) for spec in specs]


@pytest.fixture(scope="session")
def marked() -> Template:
    """A heavy ball with two small satellites, all at different distances: no rotation maps it onto itself."""
    from cryoembed.simulate.density.atoms import template_from_atoms

    # zyx, A: the satellites tell +x and +y apart
    positions = [(0.0, 0.0, 0.0), (0.0, 0.0, 80.0), (0.0, 55.0, 0.0)]
    return template_from_atoms("marked", positions, [5.0, 1.0, 1.0], VOXEL, 100.0, resolution=30.0)
