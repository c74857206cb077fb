"""A search on larger voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoembed import rotations
from cryoembed.matching.band import coarser
from cryoembed.matching.peaks import peaks
from cryoembed.matching.search import match_template
from tests.matching.scenes import RADIUS, TILT, planted, template

TURNS = rotations.grid(70)


@pytest.mark.parametrize("size", [15, 16, 17, 18])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_templates_centre_stays_its_centre(size: int, factor: int) -> None:
    squared = sum((axis - size // 2) ** 2 for axis in np.indices((size, size, size)))
    _, coarse = coarser(np.zeros((8, 8, 8)), np.exp(-squared / 8.0), factor)
    middle = coarse.shape[0] // 2
    assert np.unravel_index(coarse.argmax(), coarse.shape) == (middle, middle, middle)
    np.testing.assert_allclose(coarse[middle - 1], coarse[middle + 1], atol=1e-2)


def test_a_coarse_search_finds_the_place_within_a_fine_voxel() -> None:
    centre = (21, 31, 19)  # between coarse voxels
    fine, density = (gaussian_filter(part, 1.0) for part in (planted((44, 48, 40), centre, TURNS[11]), template()))
    volume, density = coarser(fine, density, 2)
    match = match_template(volume, density, TURNS, mask_radius_vox=RADIUS / 2 + 1, tilt_max_deg=TILT)
    found = peaks(match, TURNS, 2.0, tomogram="a", min_distance=10, count=2)
    assert np.linalg.norm(found.positions_zyx[0] - centre) < 1
    assert found.column("score", 0)[0] > 1.5 * found.column("score", 0)[1]
