"""How many of which species: shares of size classes."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.crowding import Rules, size_chances

VOXEL = 10.0


@pytest.fixture(scope="module")
def sizes():
    """One species in each of the five size classes."""
    masses = (1400, 800, 300, 100, 30)
    return [phantom(PhantomSpec(name=f"m{m}", family="blob", mass_kda=m, seed=m), VOXEL) for m in masses]


def test_size_classes_take_their_shares(make_config, sizes):
    config = make_config(shape=[64, 96, 96], crowding=0.3, size_shares=[1, 1, 1, 1, 1])
    scene = compose(config, sizes, np.random.default_rng(1))
    counts = np.array([(scene.particles.labels == template.name).sum() for template in sizes])
    volume = np.array([scene.mask_of(template.name).mean() for template in sizes])
    assert (np.diff(counts) > 0).all()  # the smaller, the more: CryoETSim
    assert np.abs(volume - 0.06).max() < 0.03
    assert scene.crowding == pytest.approx(0.3, abs=0.02)


def test_a_class_without_species_gives_its_share_away(sizes):
    rules = Rules()
    assert np.allclose(size_chances(sizes, None, rules), 0.2)
    assert size_chances(sizes, (1, 0, 0, 0, 0), rules)[0] == 1
    assert size_chances(sizes[:2], (1, 0, 5, 5, 5), rules)[0] == 1
    with pytest.raises(InputError, match="leave nothing"):
        size_chances(sizes[:2], (0, 0, 1, 1, 1), rules)
