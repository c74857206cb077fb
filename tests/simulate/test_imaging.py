"""Imaging: the wedge is empty where it must be, the SNR is what was asked, particles keep their sign."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.filters import noise_filter
from cryoembed.simulate.imaging.optics import ctf, damage, electron_wavelength
from cryoembed.simulate.imaging.series import ImagingConfig, image, snr_region
from cryoembed.simulate.scene.pack import pack

SHAPE = (40, 64, 72)


@pytest.fixture(scope="module")
def scene(species):
    return pack(species, SHAPE, 10.0, np.random.default_rng(3), counts=[4, 3, 3, 3, 3])


def angles_from_x(shape):
    """Angle (deg) of each Fourier voxel from the kx-ky plane, and its distance from the tilt axis in voxels of kz."""
    kz, _, kx = np.meshgrid(*(np.fft.fftfreq(size) for size in shape), indexing="ij")
    return np.degrees(np.arctan2(np.abs(kz), np.abs(kx))), np.hypot(kz, kx) * shape[0]


def test_the_missing_wedge_lies_around_kz_for_a_tilt_axis_along_y(scene):
    imaged = image(scene.density, 10.0, ImagingConfig(), np.random.default_rng(0), occupancy=scene.macromolecule_mask())
    angle, distance = angles_from_x(SHAPE)
    for volume in (imaged.clean, imaged.reconstruction):
        power = np.abs(np.fft.fftn(volume)) ** 2
        # a plane is one kz voxel thick, so leave that much around the last tilt
        missing = (angle > 62) & (distance * np.sin(np.radians(angle - 60)) > 1.5)
        measured = (angle < 20) & (distance > 2) & (distance < 12)
        assert missing.sum() > 5000
        assert power[missing].mean() < 1e-8 * power[measured].mean()
        # the same region turned into x is full: the wedge is around z, not x
        assert power[measured].mean() > 0


def test_tilts_up_to_ninety_degrees_leave_no_wedge():
    full = noise_filter(SHAPE, 10.0, ImagingConfig(tilt_max_deg=90, cosine_weighting=False, mean_free_path=0, dose=0))
    assert (full[5, :16, 0] > 0.01 * full.max()).all()


@pytest.mark.parametrize("asked", [0.05, 0.3, 2.0])
def test_snr_is_as_asked_in_the_particles(scene, asked):
    config, occupancy = ImagingConfig(snr_particle=(asked, asked)), scene.macromolecule_mask()
    imaged = image(scene.density, 10.0, config, np.random.default_rng(1), occupancy=occupancy)
    near = ndimage.binary_dilation(occupancy)
    noise = (imaged.reconstruction - imaged.clean)[near]
    assert imaged.clean[near].var() / noise.var() == pytest.approx(asked, rel=0.1)
    assert np.array_equal(snr_region(SHAPE, config, occupancy), near)


def test_snr_is_as_asked_over_the_volume(scene):
    config = ImagingConfig(snr_particle=None, snr_volume=(0.2, 0.2))
    imaged = image(scene.density, 10.0, config, np.random.default_rng(1))
    assert imaged.clean.var() / (imaged.reconstruction - imaged.clean).var() == pytest.approx(0.2, rel=0.1)


def test_halves_share_the_signal_and_not_the_noise(scene):
    occupancy = scene.macromolecule_mask()
    imaged = image(scene.density, 10.0, ImagingConfig(), np.random.default_rng(2), occupancy=occupancy)
    even, odd = imaged.even - imaged.clean, imaged.odd - imaged.clean
    assert abs(np.corrcoef(even.ravel(), odd.ravel())[0, 1]) < 0.03
    assert np.allclose((imaged.even + imaged.odd) / 2, imaged.reconstruction, atol=1e-5)
    assert even.var() == pytest.approx(2 * (imaged.reconstruction - imaged.clean).var(), rel=0.1)


@pytest.mark.parametrize("contrast", ["dark", "bright"])
@pytest.mark.parametrize("defocus", [-3.0, 0.3, 3.0, 8.0])
def test_particles_keep_their_sign_at_any_defocus(scene, contrast, defocus):
    config = ImagingConfig(
        defocus_um=(defocus, defocus), ctf_correction="none", contrast=contrast, snr_particle=(0.3, 0.3)
    )
    occupancy = scene.macromolecule_mask()
    imaged = image(scene.density, 10.0, config, np.random.default_rng(3), occupancy=occupancy)
    inside, outside = imaged.clean[occupancy].mean(), imaged.clean[~occupancy].mean()
    assert (inside < outside) == (contrast == "dark")
    correlation = np.corrcoef(imaged.clean.ravel(), ndimage.gaussian_filter(scene.density, 1.5).ravel())[0, 1]
    assert (correlation < -0.1) == (contrast == "dark")


def test_ctf_has_its_zeros_where_the_formula_says():
    wavelength = electron_wavelength(300.0)
    assert wavelength == pytest.approx(0.0197, rel=0.01)
    # without spherical aberration and amplitude contrast: k^2 = n / (lambda D)
    zeros = np.sqrt(np.arange(1, 6) / (wavelength * 3e4))
    values = ctf(zeros, 3.0, voltage_kv=300, cs_mm=0.0, amplitude_contrast=0.0)
    assert np.abs(values).max() < 1e-9
    assert ctf(0.0, 3.0, voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1) == pytest.approx(0.1)
    assert ctf(zeros[0] * 0.7, 3.0, voltage_kv=300, cs_mm=0.0, amplitude_contrast=0.0) > 0.9


def test_damage_follows_the_published_curve():
    # Grant and Grigorieff 2015: critical exposure at 1/3 A is 0.245 * 3^1.665 + 2.81
    critical = 0.245 * 3**1.665 + 2.81
    assert damage(1 / 3, critical) == pytest.approx(np.exp(-0.5))
    assert damage(0.05, 0.0) == 1.0


def test_noise_power_grows_with_the_distance_from_the_tilt_axis():
    config = ImagingConfig(dose=0, cosine_weighting=False, mean_free_path=0, tilt_step_deg=1.0)
    power = noise_filter((64, 64, 64), 10.0, config, exponent=0.0)[0, 0, :] ** 2
    assert power[6] / power[3] == pytest.approx(2.0, rel=0.05)


def test_without_snr_there_is_no_noise(scene):
    imaged = image(scene.density, 10.0, ImagingConfig(snr_particle=None), np.random.default_rng(0))
    assert np.array_equal(imaged.reconstruction, imaged.clean)


def test_the_same_seed_takes_the_same_image(scene):
    occupancy = scene.macromolecule_mask()
    one, two = (
        image(scene.density, 10.0, ImagingConfig(), np.random.default_rng(5), occupancy=occupancy) for _ in range(2)
    )
    assert one.reconstruction.tobytes() == two.reconstruction.tobytes()
    assert one.params == two.params
    assert one.reconstruction.dtype == np.float32


def test_an_empty_sample_has_no_snr():
    empty = np.zeros(SHAPE, np.float32)
    with pytest.raises(InputError, match="needs particles"):
        image(empty, 10.0, ImagingConfig(), np.random.default_rng(0), occupancy=empty)
    with pytest.raises(InputError, match="constant"):
        image(empty, 10.0, ImagingConfig(snr_particle=None, snr_volume=(0.1, 0.1)), np.random.default_rng(0))


def test_contradictory_settings_are_refused():
    with pytest.raises(ValidationError, match="snr_volume"):
        ImagingConfig(snr_volume=(0.1, 0.2))
    with pytest.raises(ValidationError, match="backwards"):
        ImagingConfig(defocus_um=(5.0, 2.0))
    with pytest.raises(ValidationError, match="positive"):
        ImagingConfig(snr_particle=(0.0, 0.2))
