"""Weighted back-projection: densities come back in place, at their amplitude, in halves and binned."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.projection import project
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from tests.simulate.imaging.test_projection import blob

DENSE = np.arange(-90.0, 90.0, 2.0)
WEDGE = np.arange(-60.0, 61.0, 3.0)


@pytest.mark.parametrize(("tilts", "expected"), [(DENSE, 0.98), (np.arange(-60.0, 61.0, 2.0), 0.8)])
def test_a_density_comes_back_with_its_own_amplitude(tilts, expected):
    volume = blob((41, 9, 65), (22, 4, 28), 2.5) + blob((41, 9, 65), (16, 4, 40), 2.5)
    back = reconstruct(project(volume, tilts), TiltGeometry(tilts), volume.shape, 10.0, hann=False)
    assert np.corrcoef(back.ravel(), volume.ravel())[0, 1] > expected
    slope = np.vdot(back, volume) / np.vdot(volume, volume)
    assert slope == pytest.approx(1.0 if len(tilts) == 90 else 0.75, abs=0.06 if len(tilts) == 90 else 0.15)


def test_binning_keeps_every_position():
    """Voxel i of the binned volume is at fine voxel 2 i."""
    volume = blob((40, 36, 64), (24, 14, 36), 4.0)
    images = project(volume, DENSE)
    back = reconstruct(images, TiltGeometry(DENSE), (20, 18, 32), 10.0, binning=2)
    assert np.unravel_index(back.argmax(), back.shape) == (12, 7, 18)
    assert back.max() == pytest.approx(1.0, abs=0.1)


def test_a_centre_between_rows_is_resampled():
    """An average-binned volume: voxel j at fine voxel 2 j + 0.5, so the fine centre (20, 18, 32) is half a voxel off."""
    volume = blob((40, 36, 64), (24.5, 14.5, 36.5), 4.0)
    centre = ((20 - 0.5) / 2, (18 - 0.5) / 2, (32 - 0.5) / 2)
    back = reconstruct(
        project(volume, DENSE), TiltGeometry(DENSE), (20, 18, 32), 10.0, binning=2, centre=centre, hann=False
    )
    around = [back[11:14, 7, 18], back[12, 6:9, 18], back[12, 7, 17:20]]
    assert np.unravel_index(back.argmax(), back.shape) == (12, 7, 18)
    for line in around:
        assert line[0] == pytest.approx(line[2], rel=0.02)


def test_even_and_odd_tilts_add_up_to_what_all_see():
    volume = blob((20, 9, 40), (10, 4, 22), 2.0)
    images = project(volume, WEDGE)
    geometry = TiltGeometry(WEDGE, doses=np.arange(41) * 3.0)
    halves = [reconstruct(images, geometry, volume.shape, 10.0, tilts=half) for half in ("even", "odd")]
    whole = reconstruct(images, geometry, volume.shape, 10.0)
    assert np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1] > 0.9
    assert np.corrcoef((halves[0] + halves[1]).ravel(), whole.ravel())[0, 1] > 0.995
    assert halves[0].max() == pytest.approx(whole.max(), rel=0.1)


def test_halves_alternate_by_angle_whatever_the_order_of_the_images():
    volume = blob((20, 9, 40), (10, 4, 22), 2.0)
    images = project(volume, WEDGE)
    order = np.argsort(np.abs(WEDGE), kind="stable")  # as a dose-symmetric series is taken
    for half in ("even", "odd"):
        sorted_half = reconstruct(images, TiltGeometry(WEDGE), volume.shape, 10.0, tilts=half)
        as_taken = reconstruct(images[order], TiltGeometry(WEDGE[order]), volume.shape, 10.0, tilts=half)
        np.testing.assert_allclose(as_taken, sorted_half, atol=1e-5)
