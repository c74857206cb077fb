"""Projection: points land where the formula says, nothing is lost, and the images are central slices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.tilt_series import read_tilts
from cryoembed.simulate.imaging.projection import project, project_slabs, slab_count
from cryoembed.simulate.imaging.splat import LANES

TILTS = np.array([-90.0, -60.0, -45.0, -30.0, -2.0, 0.0, 1.0, 17.3, 45.0, 60.0, 75.0])


def blob(shape, centre, sigma=1.5):
    """A Gaussian at a centre that need not be whole."""
    axes = [
        np.exp(-0.5 * ((np.arange(size) - at) / sigma) ** 2).astype(np.float32)
        for size, at in zip(shape, centre, strict=True)
    ]
    return np.einsum("z,y,x->zyx", *axes)


def seen_at(shape, position, tilts_deg):
    """(t,) column by the formula of the tilt geometry."""
    tilts = np.deg2rad(tilts_deg)
    dz, dx = position[0] - shape[0] // 2, position[2] - shape[2] // 2
    return shape[2] // 2 + dx * np.cos(tilts) - dz * np.sin(tilts)


def centroid(images):
    """(t, 2) of v and u."""
    return np.array([ndimage.center_of_mass(image) for image in images])


@given(
    z=st.integers(0, 14),
    y=st.integers(0, 2 * LANES),
    x=st.integers(12, 36),
    tilts=st.lists(st.floats(-75, 75), min_size=1, max_size=3),
)
@settings(max_examples=40)
def test_a_delta_lands_where_the_formula_says(z, y, x, tilts):
    volume = np.zeros((15, 2 * LANES + 1, 49), np.float32)
    volume[z, y, x] = 1
    expected = seen_at(volume.shape, (z, y, x), tilts)
    raw = project(volume, tilts, compensate=False)
    assert np.abs(centroid(raw) - np.stack([np.full(len(tilts), y), expected], 1)).max() < 1e-4
    images = project(volume, tilts)
    assert np.abs(images.argmax(axis=2)[:, y] - expected).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(images.sum(axis=(1, 2)), 1, atol=0.02)  # the band limit rings beyond the border
    assert not images[:, np.arange(2 * LANES + 1) != y].any()


def test_a_blob_lands_where_the_formula_says_at_the_tilts_of_every_shrec_model(shared_data):
    position = (13.3, 7.0, 40.6)
    volume = blob((30, 15, 64), position)
    for number in range(10):
        tilts = read_tilts(shared_data / f"simconfig/model_{number}.meta", images=61).tilts_deg
        found = centroid(project(volume, tilts))
        assert np.abs(found[:, 1] - seen_at(volume.shape, position, tilts)).max() < 2e-3
        assert np.abs(found[:, 0] - 7).max() < 1e-3


@pytest.mark.parametrize("y", [0, 1, LANES - 1, LANES, 2 * LANES - 1, 2 * LANES, 2 * LANES + 4])
def test_rows_at_seams_and_borders_are_projected_once(y):
    volume = np.zeros((5, 2 * LANES + 5, 33), np.float32)
    volume[:, y] = 1
    image = project(volume, [0.0], compensate=False)[0]
    np.testing.assert_allclose(image[y], 5)
    assert np.count_nonzero(image) == 33


@pytest.mark.parametrize("compensate", [False, True])
def test_every_projection_holds_the_whole_mass_of_an_inner_object(compensate):
    volume = blob((33, 9, 65), (18, 4, 30)) + 0.5 * blob((33, 9, 65), (10, 3, 36), 2.0)
    images = project(volume, TILTS, compensate=compensate)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), volume.sum(), rtol=1e-4)


def test_blobs_have_the_projections_that_integrals_give():
    shape, positions, sigma = (41, 13, 81), [(20.2, 6, 40.7), (14.0, 5.5, 30.1), (25.6, 7, 55.0)], 1.0
    volume = sum(blob(shape, position, sigma) for position in positions)
    columns = np.arange(81)
    exact = np.zeros((len(TILTS), 13, 81))
    for position in positions:
        u = seen_at(shape, position, TILTS)
        profile = sigma * np.sqrt(2 * np.pi) * np.exp(-0.5 * ((columns - u[:, None]) / sigma) ** 2)
        exact += np.exp(-0.5 * ((np.arange(13) - position[1]) / sigma) ** 2)[None, :, None] * profile[:, None]
    error = np.linalg.norm(project(volume, TILTS) - exact) / np.linalg.norm(exact)
    assert error < 0.008  # half of these tilts are the worst there are (0, 45 and 90 degrees)
    raw = np.linalg.norm(project(volume, TILTS, compensate=False) - exact) / np.linalg.norm(exact)
    assert raw > 3 * error


def test_images_are_the_central_slices_of_another_implementation():
    torch = pytest.importorskip("torch")
    slices = pytest.importorskip("torch_fourier_slice", reason="the oracle comes with the extra 'dev'")
    generator = np.random.default_rng(1)
    volume = ndimage.gaussian_filter(generator.standard_normal((48, 48, 48)), 2).astype(np.float32)
    volume *= blob(volume.shape, (24, 24, 24), 6.0)
    tilts = np.array([-60.0, -33.0, 0.0, 20.0, 58.0])
    t = torch.deg2rad(torch.tensor(tilts))
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    turns = torch.stack([t.cos(), zero, t.sin(), zero, one, zero, -t.sin(), zero, t.cos()], 1).reshape(-1, 3, 3)
    expected = slices.project_3d_to_2d(torch.from_numpy(volume), turns.float(), pad_factor=3.0).numpy()
    images = project(volume, tilts)
    assert np.linalg.norm(images - expected) / np.linalg.norm(expected) < 0.01


def test_rotating_and_summing_gives_the_same_images():
    volume = blob((49, 9, 49), (20, 4, 30), 2.0) + blob((49, 9, 49), (30, 4, 22), 3.0)
    for tilt in (-50.0, 10.0, 35.0):
        turned = ndimage.rotate(volume, -tilt, axes=(0, 2), reshape=False, order=3).sum(axis=0)
        image = project(volume, [tilt])[0]
        assert np.linalg.norm(image - turned) / np.linalg.norm(turned) < 0.01


def test_slabs_sum_to_the_projection_and_hold_what_lies_in_their_depth():
    volume = blob((24, 7, 40), (6, 3, 20)) + 2 * blob((24, 7, 40), (16, 3, 26))
    for tilt in (0.0, 30.0, -55.0):
        slabs = project_slabs(volume, tilt, 5.0)
        assert len(slabs) == slab_count(volume.shape, tilt, 5.0)
        np.testing.assert_allclose(slabs.sum(axis=0), project(volume, [tilt])[0], atol=1e-4)
        masses = slabs.sum(axis=(1, 2))
        depths = (np.arange(len(slabs)) + 0.5 - len(slabs) / 2) * 5.0
        t = np.deg2rad(tilt)
        expected = sum(
            mass * (dz * np.cos(t) + dx * np.sin(t)) for mass, dz, dx in ((1, 6 - 12, 0), (2, 16 - 12, 26 - 20))
        )
        assert abs((masses * depths).sum() / masses.sum() - expected / 3) < 0.5


def test_a_slab_border_through_a_voxel_shares_its_density():
    volume = np.zeros((10, 1, 9), np.float32)
    volume[5, 0, 4] = 1  # depth 0: the border between slabs 1 and 2 of 4
    slabs = project_slabs(volume, 0.0, 3.0, compensate=False)
    np.testing.assert_allclose(slabs.sum(axis=(1, 2)), [0, 0.5, 0.5, 0], atol=1e-6)


def test_wider_and_narrower_images_keep_their_centre():
    volume = blob((20, 5, 40), (9, 2, 24))
    usual = project(volume, [25.0])[0]
    np.testing.assert_allclose(project(volume, [25.0], width_px=60)[0][:, 10:50], usual, atol=1e-3)
    np.testing.assert_allclose(project(volume, [25.0], width_px=20)[0], usual[:, 10:30], atol=1e-3)


def test_memory_maps_and_threads_change_nothing(tmp_path):
    volume = np.random.default_rng(0).random((12, 70, 30), dtype=np.float32)
    np.save(tmp_path / "volume.npy", volume.astype(np.float16))
    mapped = np.load(tmp_path / "volume.npy", mmap_mode="r")
    out = np.memmap(tmp_path / "images.dat", np.float32, "w+", shape=(2, 70, 30))
    expected = project(volume.astype(np.float16).astype(np.float32), [10.0, -20.0], threads=1)
    np.testing.assert_array_equal(project(mapped, [10.0, -20.0], threads=3, out=out), expected)
    np.testing.assert_array_equal(np.asarray(out), expected)


@pytest.mark.parametrize("compensate", [False, True])
def test_torch_gives_the_same_images(compensate):
    pytest.importorskip("torch")
    volume = np.random.default_rng(0).random((14, 140, 33), dtype=np.float32)
    tilts = [-70.0, -45.0, 0.0, 12.0, 90.0]
    expected = project(volume, tilts, compensate=compensate)
    images = project(volume, tilts, compensate=compensate, device="cpu:0")  # torch's name: its own path
    assert np.abs(images - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_gpu_that_is_not_there_is_told():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="no CUDA GPU"):
        project(np.zeros((3, 4, 5), np.float32), [0.0], device="cuda")


def test_projecting_on_the_cpu_needs_no_torch():
    code = (
        "import sys, numpy as np; from cryoembed.simulate.imaging.projection import project; "
        "from cryoembed.simulate.imaging.backprojection import back_project; "
        "images = project(np.ones((3, 4, 5), np.float32), [0.0]); back_project(images, [0.0], (3, 4, 5)); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bad_input_is_told():
    volume = np.zeros((4, 5, 6), np.float32)
    with pytest.raises(InputError, match="three|zyx|expected \\(z, y, x\\)"):
        project(volume[0], [0.0])
    with pytest.raises(InputError, match="not finite"):
        project(volume, [0.0, np.nan])
    with pytest.raises(InputError, match="no number"):
        project(volume, ["a"])
    with pytest.raises(InputError, match="at least one tilt"):
        project(volume, [])
    with pytest.raises(InputError, match="width_px"):
        project(volume, [0.0], width_px=0)
    with pytest.raises(InputError, match="expected float32 of shape"):
        project(volume, [0.0], out=np.zeros((2, 5, 6), np.float32))
    with pytest.raises(InputError, match="slab_vox"):
        project_slabs(volume, 0.0, 0.5)
