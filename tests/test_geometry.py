"""Conventions of position: axis order, voxels and A, RELION's centre, binning, boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cryoembed import geometry
from cryoembed.geometry import RelionCentre

COORDINATES = arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats(-5e4, 5e4))
VOXEL_SIZES = st.floats(0.2, 40.0)
ORIGINS = st.tuples(*[st.floats(-1e4, 1e4)] * 3)
SIZES = st.tuples(*[st.integers(1, 6000)] * 3)
CENTRES: st.SearchStrategy[RelionCentre] = st.sampled_from(["n/2", "n/2-1"])


@given(COORDINATES)
def test_reversing_axes_twice_changes_nothing(points: np.ndarray) -> None:
    np.testing.assert_array_equal(geometry.reverse_axes(geometry.reverse_axes(points)), points)


def test_zyx_becomes_xyz() -> None:
    np.testing.assert_array_equal(geometry.reverse_axes([[1.0, 2.0, 3.0]]), [[3.0, 2.0, 1.0]])


@given(COORDINATES, VOXEL_SIZES, ORIGINS)
def test_voxels_to_angstrom_and_back(voxels: np.ndarray, voxel_size: float, origin: tuple[float, float, float]) -> None:
    angstrom = geometry.voxel_to_angstrom(voxels, voxel_size, origin)
    np.testing.assert_allclose(geometry.angstrom_to_voxel(angstrom, voxel_size, origin), voxels, atol=1e-6)


@given(VOXEL_SIZES, ORIGINS)
def test_voxel_zero_lies_at_the_origin(voxel_size: float, origin: tuple[float, float, float]) -> None:
    np.testing.assert_array_equal(geometry.voxel_to_angstrom([[0, 0, 0]], voxel_size, origin), [origin])


@given(COORDINATES, SIZES, VOXEL_SIZES, CENTRES)
def test_relion_centred_and_back(
    positions: np.ndarray, size: tuple[int, int, int], pixel_size: float, centre: RelionCentre
) -> None:
    centred = geometry.centred_from_corner(positions, size, pixel_size, centre)
    np.testing.assert_allclose(geometry.corner_from_centred(centred, size, pixel_size, centre), positions, atol=1e-6)


def test_relion_centre_is_half_the_size_or_one_pixel_less() -> None:
    middle = [[100 * 1.35, 200 * 1.35, 150 * 1.35]]
    size = (200, 400, 300)
    np.testing.assert_allclose(geometry.centred_from_corner(middle, size, 1.35, "n/2"), [[0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(geometry.centred_from_corner(middle, size, 1.35, "n/2-1"), [[1.35] * 3], atol=1e-12)


@given(COORDINATES, SIZES, VOXEL_SIZES)
def test_the_two_relion_centres_differ_by_one_pixel(
    positions: np.ndarray, size: tuple[int, int, int], pixel_size: float
) -> None:
    half = geometry.centred_from_corner(positions, size, pixel_size, "n/2")
    less = geometry.centred_from_corner(positions, size, pixel_size, "n/2-1")
    np.testing.assert_allclose(less - half, pixel_size, atol=1e-6)


def test_20_angstrom_voxel_191_is_10_angstrom_voxel_382_5_at_3825_angstrom() -> None:
    coarse_origin = geometry.binned_origin(2, 10.0)
    assert coarse_origin == (5.0, 5.0, 5.0)
    position = geometry.voxel_to_angstrom([[191, 191, 191]], 20.0, coarse_origin)
    np.testing.assert_array_equal(position, [[3825.0] * 3])
    np.testing.assert_array_equal(geometry.angstrom_to_voxel(position, 10.0), [[382.5] * 3])


@given(st.integers(1, 8), st.integers(0, 9), VOXEL_SIZES, ORIGINS)
def test_a_binned_voxel_lies_at_the_mean_of_its_fine_voxels(
    factor: int, index: int, fine: float, origin: tuple[float, float, float]
) -> None:
    members = np.repeat(np.arange(index * factor, (index + 1) * factor)[:, None], 3, axis=1)
    mean = geometry.voxel_to_angstrom(members, fine, origin).mean(axis=0)
    coarse_origin = geometry.binned_origin(factor, fine, origin)
    coarse = geometry.voxel_to_angstrom([[index] * 3], factor * fine, coarse_origin)
    np.testing.assert_allclose(coarse[0], mean, rtol=1e-9, atol=1e-6)


@given(st.integers(-1000, 1000), st.floats(-0.49, 0.49))
def test_nearest_voxel_holds_the_point(index: int, offset: float) -> None:
    assert geometry.nearest_voxel([index + offset]) == index


def test_halves_go_up_on_both_sides_of_zero() -> None:
    np.testing.assert_array_equal(geometry.nearest_voxel([-1.5, -0.5, 0.5, 1.5]), [-1, 0, 1, 2])


@given(st.integers(1, 33), st.integers(-50, 50))
def test_box_centre_is_index_half_box(box: int, centre: int) -> None:
    assert geometry.box_start([centre], box)[0] + box // 2 == centre


@given(st.tuples(*[st.integers(-12, 12)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_box_slices_copy_every_voxel_inside_to_its_place(
    start: tuple[int, ...], box: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    volume = np.arange(np.prod(shape), dtype=float).reshape(shape) + 1
    padded = np.zeros([size + 60 for size in shape])
    padded[30 : 30 + shape[0], 30 : 30 + shape[1], 30 : 30 + shape[2]] = volume
    expected = padded[tuple(slice(30 + s, 30 + s + b) for s, b in zip(start, box, strict=True))]
    cut = np.zeros(box)
    slices = geometry.box_slices(start, box, shape)
    if slices is not None:
        inside_volume, inside_box = slices
        cut[inside_box] = volume[inside_volume]
    np.testing.assert_array_equal(cut, expected)


@pytest.mark.parametrize("start", [-5, 4])
def test_a_box_beside_the_volume_has_no_slices(start: int) -> None:
    assert geometry.box_slices((start, 0, 0), (5, 5, 5), (4, 5, 5)) is None
