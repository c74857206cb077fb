"""What is too small to be placed: its mean and grain are those of molecules thrown at random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.simulate.density.template import DENSITY_PER_KDA
from cryoembed.simulate.scene.cytosol import MOLECULE_KDA, add_cytosol


def test_cytosol_has_the_mean_and_variance_of_molecules_thrown_at_random() -> None:
    fraction, voxel_size, shape = 0.05, 10.0, (64, 64, 64)
    generator = np.random.default_rng(0)
    volume = MOLECULE_KDA * DENSITY_PER_KDA
    thrown = np.zeros(shape)
    count = round(fraction * np.prod(shape) * voxel_size**3 / volume)
    np.add.at(thrown, tuple(generator.integers(0, 64, size=(3, count))), volume / voxel_size**3)
    radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
    thrown = ndimage.gaussian_filter(thrown, radius / np.sqrt(5) / voxel_size, mode="wrap")

    density = np.zeros(shape, dtype=np.float32)
    add_cytosol(density, np.ones(shape, dtype=bool), fraction, voxel_size, generator)
    assert density.mean() == pytest.approx(thrown.mean(), rel=0.05)
    assert density.std() == pytest.approx(thrown.std(), rel=0.05)


def test_cytosol_stays_where_it_may_be() -> None:
    where = np.zeros((16, 16, 16), dtype=bool)
    where[4:8] = True
    density = np.zeros(where.shape, dtype=np.float32)
    add_cytosol(density, where, 0.1, 10.0, np.random.default_rng(0))
    assert not density[~where].any()
    assert density[where].all()
