"""Back-projection: the transpose of the projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.backprojection import back_project
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.projection import project
from cryoembed.simulate.imaging.splat import LANES
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from cryoembed.simulate.imaging.weighting import ramp_filter

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
