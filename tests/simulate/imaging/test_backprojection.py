"""Back-projection: the transpose of the projection, and with its filter the way back to the density."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.backprojection import back_project, reconstruct
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.projection import project
from cryoembed.simulate.imaging.splat import LANES
from cryoembed.simulate.imaging.weighting import angular_weights, ramp_filter
from tests.simulate.imaging.test_projection import blob

DENSE = np.arange(-90.0, 90.0, 2.0)
WEDGE = np.arange(-60.0, 61.0, 3.0)


@given(
    z=st.integers(0, 16),
    y=st.integers(0, 2 * LANES),
    x=st.integers(0, 40),
    tilts=st.sampled_from([WEDGE, DENSE, np.linspace(-50, 55, 24)]),
)
@settings(max_examples=30)
def test_a_delta_comes_back_where_it_was(z, y, x, tilts):
    volume = np.zeros((17, 2 * LANES + 1, 41), np.float32)
    volume[z, y, x] = 1
    images = ramp_filter(project(volume, tilts, width_px=61, compensate=False), 10.0, tilts_deg=tilts)
    back = back_project(images, tilts, volume.shape)
    assert np.unravel_index(back.argmax(), back.shape) == (z, y, x)


@given(seed=st.integers(0, 1000), tilts=st.lists(st.floats(-90, 90), min_size=1, max_size=4), wide=st.integers(-9, 9))
@settings(max_examples=25)
def test_splat_and_gather_are_transposes(seed, tilts, wide):
    generator = np.random.default_rng(seed)
    volume = generator.random((6, LANES + 3, 21), dtype=np.float32)
    images = generator.random((len(tilts), LANES + 3, 21 + wide), dtype=np.float32)
    seen = project(volume, tilts, width_px=21 + wide, compensate=False)
    one = np.vdot(seen.astype(np.float64), images)
    other = np.vdot(volume.astype(np.float64), back_project(images, tilts, volume.shape))
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(("tilts", "expected"), [(DENSE, 0.98), (np.arange(-60.0, 61.0, 2.0), 0.8)])
def test_a_density_comes_back_with_its_own_amplitude(tilts, expected):
    volume = blob((41, 9, 65), (22, 4, 28), 2.5) + blob((41, 9, 65), (16, 4, 40), 2.5)
    back = reconstruct(project(volume, tilts), TiltGeometry(tilts), volume.shape, 10.0, hann=False)
    assert np.corrcoef(back.ravel(), volume.ravel())[0, 1] > expected
    slope = np.vdot(back, volume) / np.vdot(volume, volume)
    assert slope == pytest.approx(1.0 if len(tilts) == 90 else 0.75, abs=0.06 if len(tilts) == 90 else 0.15)


def test_irregular_and_repeated_tilts_count_for_the_angle_they_stand_for():
    np.testing.assert_allclose(np.rad2deg(angular_weights([0.0, 2.0, 6.0, 8.0])), [2, 3, 3, 2])
    np.testing.assert_allclose(np.rad2deg(angular_weights([4.0, 0.0, 0.0, -4.0])), [4, 2, 2, 4])
    np.testing.assert_allclose(angular_weights([5.0]), [np.pi])


@pytest.mark.parametrize("y", [0, LANES - 1, LANES, 2 * LANES, 2 * LANES + 3])
def test_rows_at_seams_and_borders_come_back_once(y):
    images = np.zeros((2, 2 * LANES + 4, 17), np.float32)
    images[:, y] = 1
    back = back_project(images, [0.0, 0.0], (3, 2 * LANES + 4, 17))
    np.testing.assert_allclose(back[:, y], 2)
    assert not np.delete(back, y, axis=1).any()


def test_a_part_of_the_volume_is_that_part():
    images = np.random.default_rng(0).random((5, 50, 48), dtype=np.float32)
    tilts = [-40.0, -10.0, 0.0, 20.0, 50.0]
    whole = back_project(images, tilts, (20, 50, 48))
    part = back_project(images, tilts, (8, 11, 30), centre=(10 - 4, 25 - 31, 24 - 9))
    np.testing.assert_allclose(part, whole[4:12, 31:42, 9:39], atol=1e-5)
    taller = back_project(images, tilts, (20, 60, 48))
    np.testing.assert_allclose(taller[:, 5:55], whole, atol=1e-6)
    assert not taller[:, :5].any()
    assert not taller[:, 55:].any()


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


def test_exposure_takes_high_frequencies_first():
    image = np.random.default_rng(0).standard_normal((1, 64, 64)).astype(np.float32)
    fresh, spent = (ramp_filter(image, 5.0, doses=[dose], hann=False) for dose in (0.0, 60.0))
    left = np.abs(np.fft.rfft2(spent[0])) / np.abs(np.fft.rfft2(fresh[0]))
    assert np.median(left[1:4, 2:5]) > 3 * np.median(left[24:40, 24:])


def test_a_bright_border_leaves_no_stripe():
    """The sample goes on beyond the image: a level image has next to nothing at its borders after filtering."""
    filtered = ramp_filter(np.full((1, 40, 64), 30.0, np.float32), 10.0)
    assert np.abs(filtered).max() < 0.1


def test_memory_maps_and_threads_change_nothing(tmp_path):
    images = np.random.default_rng(0).random((3, 70, 30), dtype=np.float32)
    out = np.memmap(tmp_path / "volume.dat", np.float32, "w+", shape=(12, 70, 30))
    expected = back_project(images, [0.0, 30.0, -40.0], (12, 70, 30), threads=1)
    back_project(images, [0.0, 30.0, -40.0], (12, 70, 30), threads=3, out=out)
    np.testing.assert_array_equal(np.asarray(out), expected)


def test_torch_gives_the_same_volume():
    pytest.importorskip("torch")
    images = np.random.default_rng(0).random((4, 140, 33), dtype=np.float32)
    tilts, shape = [-70.0, -45.0, 0.0, 90.0], (14, 150, 33)
    expected = back_project(images, tilts, shape)
    back = back_project(images, tilts, shape, device="cpu:0")
    assert np.abs(back - expected).max() < 1e-4 * np.abs(expected).max()


def test_bad_input_is_told():
    images = np.zeros((3, 5, 6), np.float32)
    with pytest.raises(InputError, match="3 tilt images came with 2 tilts"):
        back_project(images, [0.0, 1.0], (4, 5, 6))
    with pytest.raises(InputError, match="expected \\(tilt, y, u\\)"):
        back_project(images[0], [0.0], (4, 5, 6))
    with pytest.raises(InputError, match="three sizes"):
        back_project(images, [0.0, 1.0, 2.0], (4, 0, 6))
    with pytest.raises(InputError, match="whole row"):
        back_project(images, [0.0, 1.0, 2.0], (4, 5, 6), centre=(2, 2.5, 3))
    with pytest.raises(InputError, match="lie beside"):
        back_project(images, [0.0, 1.0, 2.0], (4, 5, 6), centre=(2, -20, 3))
    with pytest.raises(InputError, match="3 tilt images came with 2 tilts"):
        reconstruct(images, TiltGeometry([0.0, 1.0]), (4, 5, 6), 10.0)
    with pytest.raises(InputError, match="'odd'"):
        reconstruct(images[:1], TiltGeometry([0.0]), (4, 5, 6), 10.0, tilts="odd")
    with pytest.raises(InputError, match="expected one of all, even, odd"):
        reconstruct(images[:1], TiltGeometry([0.0]), (4, 5, 6), 10.0, tilts="both")
    with pytest.raises(InputError, match="doses has the shape"):
        ramp_filter(images, 10.0, doses=[1.0])
    with pytest.raises(InputError, match="binning"):
        reconstruct(images, TiltGeometry([0.0, 1.0, 2.0]), (4, 5, 6), 10.0, binning=0)
