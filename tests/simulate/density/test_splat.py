"""Splats: windows leave out nothing that matters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from cryoembed.simulate.density.splat import splat


def by_hand(positions, weights, box, voxel_size, sigma):
    """Every Gaussian in every voxel."""
    edges = (np.arange(box + 1) - 0.5 - box // 2) * voxel_size
    z, y, x = (
        np.diff(0.5 * erf((edges - positions[:, axis, None]) / (np.sqrt(2) * sigma[:, None])), axis=1)
        for axis in range(3)
    )
    return np.einsum("n,nz,ny,nx->zyx", weights, z, y, x)


@pytest.mark.parametrize(("box", "voxel_size"), [(24, 10.0), (25, 2.0)])
def test_windows_change_nothing(generator, box, voxel_size):
    reach = 0.6 * box * voxel_size  # some lie outside of the box
    positions = generator.uniform(-reach, reach, (200, 3))
    weights, sigma = generator.normal(1, 0.5, 200), generator.uniform(0.5, 2.5, 200) * voxel_size
    expected = by_hand(positions, weights, box, voxel_size, sigma)
    assert np.abs(splat(positions, weights, box, voxel_size, sigma) - expected).max() < 1e-6 * expected.max()


def test_several_gaussians_at_a_point_are_as_several_points(generator):
    positions = generator.uniform(-30, 30, (50, 3))
    weights, sigma = generator.uniform(0, 1, (50, 3)), generator.uniform(5, 9, (50, 3))
    together = splat(positions, weights, 16, 6.0, sigma)
    apart = splat(np.repeat(positions, 3, axis=0), weights.ravel(), 16, 6.0, sigma.ravel())
    assert np.allclose(together, apart, atol=1e-6)


def test_blocks_add_up(generator):
    positions, weights = generator.uniform(-30, 30, (50, 3)), generator.uniform(0, 1, 50)
    volume = np.zeros((16, 16, 16))
    for rows in (slice(0, 20), slice(20, 50)):
        splat(positions[rows], weights[rows], 16, 6.0, 5.0, out=volume)
    assert np.allclose(volume, splat(positions, weights, 16, 6.0, 5.0), atol=1e-6)


def test_mass_and_position_are_exact():
    density = splat([(13.0, -21.0, 4.0), (-3.0, 8.0, 30.0)], [2.0, 1.0], 25, 10.0, 8.0)
    assert density.sum() == pytest.approx(3.0, rel=1e-5)
    expected = np.array([(2 * 13 - 3) / 3, (-2 * 21 + 8) / 3, (2 * 4 + 30) / 3]) / 10
    assert np.abs(np.asarray(ndimage.center_of_mass(density)) - 12 - expected).max() < 1e-4
