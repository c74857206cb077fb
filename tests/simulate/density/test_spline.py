"""The compiled spline: it gives what SciPy gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.rotations import matrices_zyx, random_rotations
from cryoembed.simulate.density.spline import affine_cubic
from cryoembed.simulate.density.template import rotate


@pytest.mark.parametrize("seed", range(3))
def test_a_turned_and_shifted_volume_is_scipys(seed):
    generator = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(generator.normal(size=(11, 12, 13)), 1).astype(np.float32)
    coefficients = ndimage.spline_filter(volume, order=3, output=np.float32, mode="grid-constant")
    matrix = matrices_zyx(random_rotations(1, generator))[0]
    offset = generator.uniform(-3, 6, size=3)
    expected = ndimage.affine_transform(
        coefficients, matrix, offset, order=3, prefilter=False, mode="grid-constant", output=np.float32
    )
    assert np.abs(affine_cubic(coefficients, matrix, offset) - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_identity_gives_the_template_back(species):
    from scipy.spatial.transform import Rotation

    for template in species:
        assert np.abs(rotate(template, Rotation.identity()) - template.density).max() < 5e-3  # faces of tight boxes
