"""Alignment: whatever moved an image is undone, and binning leaves the centre alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.tilt_series import TiltTable, read_tilts, read_xf
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.alignment import align, fourier_crop
from cryoembed.simulate.imaging.exposures import draw_exposures
from cryoembed.simulate.imaging.geometry import TiltGeometry


def scene(v, u):
    """A smooth picture as a function of offsets from the centre."""
    return np.exp(-((v - 6) ** 2 + (u + 9) ** 2) / 30) + 0.5 * np.exp(-((v + 11) ** 2 + (u - 4) ** 2) / 50)


def raw_image(shape, angle_deg, magnification, shift_vu):
    """What the microscope saw: aligned(p) = raw(c + m R p + shift), solved for the raw pixel's p."""
    v, u = np.indices(shape, dtype=float)
    v, u = v - shape[0] // 2 - shift_vu[0], u - shape[1] // 2 - shift_vu[1]
    a = np.deg2rad(angle_deg)
    back_u, back_v = np.cos(a) * u + np.sin(a) * v, -np.sin(a) * u + np.cos(a) * v  # R^-1
    return scene(back_v / magnification, back_u / magnification).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 70), (65, 71)])
@pytest.mark.parametrize(
    ("angle", "magnification", "shift"),
    [(0, 1, (3.3, -4.6)), (12.5, 1, (0, 0)), (0, 1.03, (0, 0)), (-4.3, 0.98, (2.0, -7.25)), (90, 1, (0, 1))],
)
def test_turns_magnifications_and_shifts_are_undone(shape, angle, magnification, shift):
    raw = raw_image(shape, angle, magnification, shift)[None]
    geometry = TiltGeometry([0.0], [shift], [angle], [magnification])
    expected = raw_image(shape, 0, 1, (0, 0))
    assert np.abs(align(raw, geometry)[0] - expected).max() < 2e-3


def test_an_aligned_series_is_left_as_it_is():
    images = np.random.default_rng(0).random((2, 8, 9), dtype=np.float32)
    np.testing.assert_array_equal(align(images, TiltGeometry([0.0, 1.0])), images)


def test_imod_transforms_mean_what_imod_says():
    """aligned = A (raw - middle) + D + middle, with the middle at (n - 1) / 2; our axis is at n // 2."""
    angle = np.deg2rad(-4.3)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 1.01
    shape, shift_xy = (64, 70), np.array([5.0, -3.0])
    raw = raw_image(shape, 20, 1, (1, 2))
    middle = (np.array(shape) - 1) / 2
    v, u = np.indices(shape, dtype=float)
    # aligned image whose tilt axis is moved from (n - 1) / 2 to n // 2
    offsets = np.stack([u - shape[1] // 2, v - shape[0] // 2], -1) - shift_xy
    x, y = np.moveaxis(offsets @ np.linalg.inv(matrix).T, -1, 0)
    expected = ndimage.map_coordinates(raw, [y + middle[0], x + middle[1]], order=3, mode="nearest")
    geometry = TiltGeometry.of_xf(np.array([0.0]), matrix[None], shift_xy[None], shape)
    np.testing.assert_allclose(align(raw[None], geometry)[0], expected, atol=1e-5)


def test_doses_are_those_by_the_middle_of_each_exposure():
    table = TiltTable(np.array([-3.0, 0.0, 3.0]), doses=np.array([6.0, 0.0, 3.0]))  # before each of them
    assert TiltGeometry.of_table(table, 10.0).doses.tolist() == [7.5, 1.5, 4.5]
    drawn = draw_exposures(ImagingConfig(dose=9.0), table.tilts_deg, 10.0, np.random.default_rng(0))
    assert sorted(drawn.doses) == [1.5, 4.5, 7.5]


def test_warp_and_imod_files_of_one_series_agree(shared_data):
    folder = shared_data / "tomograms/emp10499"
    table = read_tilts(folder / "00254_xfimport.xml", images=41)
    warp = TiltGeometry.of_table(table, 10.0)
    imod = TiltGeometry.of_xf(table.tilts_deg, *read_xf(folder / "00254.xf", images=41), (630, 652))
    np.testing.assert_allclose(imod.rotations_deg, warp.rotations_deg, atol=1e-3)
    np.testing.assert_allclose(imod.magnifications, 1, atol=1e-4)
    # Warp leaves out that IMOD's middle is half a pixel before n // 2
    np.testing.assert_allclose(imod.shifts_px + 0.5, warp.shifts_px, atol=2e-3)


@pytest.mark.parametrize("shape", [(64, 72), (66, 70), (65, 71)])
def test_binned_pixels_stay_at_their_place(shape):
    binned = fourier_crop(raw_image(shape, 0, 1, (0, 0))[None], 2)[0]
    v, u = np.indices(binned.shape, dtype=float)
    expected = scene(2 * (v - binned.shape[0] // 2), 2 * (u - binned.shape[1] // 2))
    assert np.abs(binned - expected).max() < 5e-3


def test_bad_input_is_told():
    images = np.zeros((3, 8, 8), np.float32)
    with pytest.raises(InputError, match="3 tilt images came with 2 tilts"):
        align(images, TiltGeometry([0.0, 1.0]))
    with pytest.raises(InputError, match="shifts_px has the shape"):
        TiltGeometry([0.0, 1.0], shifts_px=np.zeros((3, 2)))
    with pytest.raises(InputError, match="magnifications"):
        TiltGeometry([0.0], magnifications=[0.0])
    with pytest.raises(InputError, match="tilts_deg"):
        TiltGeometry([[0.0]])
    with pytest.raises(InputError, match="not finite"):
        TiltGeometry([0.0], doses=[np.inf])
    with pytest.raises(InputError, match="cannot be binned"):
        fourier_crop(images, 5)
    with pytest.raises(InputError, match="transform 1 stretches or mirrors"):
        TiltGeometry.of_xf([0.0], np.array([[[1.0, 0.0], [0.0, -1.0]]]), np.zeros((1, 2)), (8, 8))


@pytest.mark.parametrize(("angle", "magnification", "shift"), [(0, 1, (3.3, -4.6)), (-14.3, 0.97, (2.0, -7.25))])
def test_the_inverse_of_a_geometry_makes_the_raw_images_that_it_aligns(angle, magnification, shift):
    geometry = TiltGeometry([0.0], [shift], [angle], [magnification], doses=[3.0])
    made = align(raw_image((64, 70), 0, 1, (0, 0))[None], geometry.inverse)[0]
    assert np.abs(made - raw_image((64, 70), angle, magnification, shift)).max() < 2e-3
    again = geometry.inverse.inverse
    np.testing.assert_allclose(again.shifts_px, geometry.shifts_px)
    np.testing.assert_allclose([again.rotations_deg, again.magnifications], [[angle], [magnification]])
