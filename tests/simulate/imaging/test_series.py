"""Whole series: the wedge is empty where it must be, the SNR is what was asked, particles keep their sign."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.mrc import write_mrc
from cryoembed.simulate.imaging.series import ImagingConfig, image, snr_region
from cryoembed.simulate.imaging.spectrum import spectra_of
from cryoembed.simulate.scene.pack import pack

SHAPE = (40, 64, 72)
QUICK = ImagingConfig(tilt_step_deg=6.0)


@pytest.fixture(scope="module")
def scene(species):
    return pack(species, SHAPE, 10.0, np.random.default_rng(3), counts=[4, 3, 3, 3, 3])


def taken(scene, seed=0, voxel_size=10.0, **settings):
    config = ImagingConfig.model_validate({**QUICK.model_dump(), **settings})
    occupancy = scene.macromolecule_mask()
    return image(scene.density, voxel_size, config, np.random.default_rng(seed), occupancy=occupancy)


def angles_from_x(shape):
    """Angle (deg) of each Fourier voxel from the kx-ky plane, and its distance from the tilt axis in voxels of kz."""
    kz, _, kx = np.meshgrid(*(np.fft.fftfreq(size) for size in shape), indexing="ij")
    return np.degrees(np.arctan2(np.abs(kz), np.abs(kx))), np.hypot(kz, kx) * shape[0]


@pytest.mark.parametrize("model", ["weak_phase", "multislice"])
def test_the_missing_wedge_lies_around_kz_for_a_tilt_axis_along_y(scene, model):
    imaged = taken(scene, model=model, tilt_step_deg=3.0)
    angle, distance = angles_from_x(SHAPE)
    window = np.hanning(SHAPE[0])[:, None, None] * np.hanning(SHAPE[2])  # a volume's faces shine into the wedge
    for volume in (imaged.clean, imaged.reconstruction):
        power = np.abs(np.fft.fftn(volume * window)) ** 2
        missing = (angle > 70) & (distance > 6) & (distance < 18)
        measured = (angle < 50) & (distance > 6) & (distance < 18)
        assert power[missing].mean() < 0.01 * power[measured].mean()


@pytest.mark.parametrize("asked", [0.05, 0.3, 2.0])
def test_snr_is_as_asked_in_the_particles(scene, asked):
    imaged, occupancy = taken(scene, 1, snr_particle=asked), scene.macromolecule_mask()
    near = ndimage.binary_dilation(occupancy)
    noise = (imaged.reconstruction - imaged.clean)[near]
    assert imaged.clean[near].var() / noise.var() == pytest.approx(asked, rel=1e-3)
    assert imaged.params["snr_particle"] == pytest.approx(asked, rel=1e-3)
    assert np.array_equal(snr_region(SHAPE, ImagingConfig(snr_particle=0.1), occupancy), near)


def test_tilts_up_to_ninety_degrees_leave_no_wedge(scene):
    even_tilts = {"cosine_weighting": False, "damage": False, "mean_free_path": 0, "ctf": False}
    clean = taken(scene, tilt_max_deg=90.0, tilt_step_deg=3.0, **even_tilts).clean
    angle, distance = angles_from_x(SHAPE)
    power = np.abs(np.fft.fftn(clean)) ** 2
    near = (distance > 3) & (distance < 8)
    assert power[near & (angle > 75)].mean() > 0.2 * power[near & (angle < 15)].mean()


def test_snr_is_as_asked_over_the_volume(scene):
    imaged = taken(scene, snr_volume=0.2)
    noise = imaged.reconstruction - imaged.clean
    assert imaged.clean.var() / noise.var() == pytest.approx(0.2, rel=1e-3)


def test_noise_follows_the_dose_when_no_snr_is_asked(scene):
    noise = {}
    for dose in (50.0, 200.0):
        imaged = taken(scene, dose=dose, damage=False)
        noise[dose] = (imaged.reconstruction - imaged.clean).var()
    assert noise[50.0] / noise[200.0] == pytest.approx(4.0, rel=0.05)


def test_without_poisson_there_is_no_noise(scene):
    imaged = taken(scene, poisson=False)
    assert np.array_equal(imaged.reconstruction, imaged.clean)
    assert np.array_equal(imaged.even, imaged.clean)
    assert "snr_volume" not in imaged.params


def test_frame_halves_share_the_signal_and_not_the_noise(scene):
    imaged = taken(scene, 2)
    even, odd = imaged.even - imaged.clean, imaged.odd - imaged.clean
    assert abs(np.corrcoef(even.ravel(), odd.ravel())[0, 1]) < 0.03
    assert np.allclose((imaged.even + imaged.odd) / 2, imaged.reconstruction, atol=1e-4)
    assert even.var() == pytest.approx(2 * (imaged.reconstruction - imaged.clean).var(), rel=0.1)


def test_tilt_halves_have_noise_of_their_own_and_add_up(scene):
    imaged = taken(scene, 2, halves="tilts", tilt_step_deg=3.0, snr_volume=0.3)
    even, odd = imaged.even - imaged.clean, imaged.odd - imaged.clean
    assert abs(np.corrcoef(even.ravel(), odd.ravel())[0, 1]) < 0.1
    mean = (imaged.even + imaged.odd) / 2
    assert np.corrcoef(mean.ravel(), imaged.reconstruction.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("contrast", ["dark", "bright"])
@pytest.mark.parametrize("defocus", [-3.0, 0.5, 3.0, 8.0])
def test_particles_keep_their_sign_at_any_defocus(scene, contrast, defocus):
    clean = taken(scene, 3, defocus_um=defocus, ctf_correction="none", contrast=contrast).clean
    correlation = np.corrcoef(clean.ravel(), ndimage.gaussian_filter(scene.density, 1.5).ravel())[0, 1]
    assert (correlation < 0) == (contrast == "dark")
    assert abs(correlation) > 0.05


def test_a_phase_plate_without_damage_gives_the_density_back(scene):
    # perfect transfer: what is left are the wedge, the soft ramp and the B-factor
    perfect = {"ctf": False, "damage": False, "mean_free_path": 0, "detector": "none", "tilt_step_deg": 3.0}
    imaged = taken(scene, contrast="bright", **perfect)
    smooth = ndimage.gaussian_filter(scene.density, 1.0)
    inner = np.s_[4:-4, 8:-8, 12:-12]
    assert np.corrcoef(imaged.clean[inner].ravel(), smooth[inner].ravel())[0, 1] > 0.75
    slope = np.polyfit(smooth[inner].ravel(), imaged.clean[inner].ravel(), 1)[0]
    assert 0.6 < slope < 1.4  # the density's own unit


def test_tilt_series_holds_counts_of_the_dose_and_ice(scene):
    imaged = taken(scene, write_tilt_series=True, dose=105.0, mean_free_path=2000.0)
    series = imaged.tilt_series
    assert series.shape == (21, *SHAPE[1:])
    assert len(imaged.geometry) == 21
    assert np.array_equal(imaged.geometry.tilts_deg, QUICK.planned_tilts_deg())
    for tilt, cosine in ((0, 0.5), (10, 1.0)):
        expected = 105 / 21 * 100 * np.exp(-400 / 2000 / cosine)
        assert series[tilt].mean() == pytest.approx(expected, rel=0.03)
    assert taken(scene).tilt_series is None


def test_protein_is_dark_in_the_counts_and_gold_leaves_none_below_zero(scene):
    gold = scene.density.copy()
    gold[15:25, 30:40, 30:40] = 8.0
    config = ImagingConfig.model_validate(
        {**QUICK.model_dump(), "write_tilt_series": True, "poisson": False, "detector": "none"}
    )
    series = image(gold, 10.0, config, np.random.default_rng(0)).tilt_series
    assert series.min() >= 0
    assert series[10, 30:40, 30:40].mean() < 0.8 * np.median(series[10])


def test_scaled_noise_is_in_the_tilt_series_as_well(scene):
    faint = taken(scene, write_tilt_series=True, snr_volume=0.01).tilt_series
    clear = taken(scene, write_tilt_series=True, snr_volume=1.0).tilt_series
    assert (faint[10] - clear[10]).std() > 3 * clear[10].std()


def test_misalignment_blurs_and_is_not_undone(scene):
    settings = {"poisson": False, "defocus_jitter_um": 0.0}
    sharp = taken(scene, **settings)
    moved = taken(scene, **settings, shift_sd=20.0, rotation_sd_deg=0.5, magnification_sd=0.01)
    assert moved.clean.std() < 0.9 * sharp.clean.std()
    assert moved.geometry.is_aligned
    assert moved.exposures.misalignment.shifts_px.std() * 10 == pytest.approx(20, rel=0.4)


def test_a_hole_in_the_sample_is_bright_in_the_images(scene):
    mask = np.ones(SHAPE, bool)
    mask[:, :20] = False
    config = ImagingConfig.model_validate(
        {**QUICK.model_dump(), "write_tilt_series": True, "mean_free_path": 1000.0, "detector": "none"}
    )
    empty = np.zeros(SHAPE, np.float32)
    series = image(empty, 10.0, config, np.random.default_rng(0), sample_mask=mask).tilt_series
    assert series[10, :16].mean() / series[10, 24:].mean() == pytest.approx(np.exp(0.4), rel=0.02)


def test_missing_tilts_are_missing_from_everything(scene):
    imaged = taken(scene, missing_tilts=0.4, write_tilt_series=True)
    assert 3 <= len(imaged.tilt_series) < 21
    assert len(imaged.geometry) == len(imaged.tilt_series) == imaged.params["tilts"]


def test_beam_damage_noise_is_shared_by_the_halves(scene):
    imaged = taken(scene, beam_damage_snr=0.05)
    even, odd = imaged.even - imaged.clean, imaged.odd - imaged.clean
    assert np.corrcoef(even.ravel(), odd.ravel())[0, 1] > 0.2


def test_binning_keeps_the_frame(scene):
    fine, coarse = (taken(scene, 0, 5.0, binning=binning, poisson=False) for binning in (1, 2))
    assert coarse.clean.shape == (20, 32, 36)
    assert coarse.voxel_size == 10.0
    there = ndimage.gaussian_filter(fine.clean, 1.0)[::2, ::2, ::2]
    assert np.corrcoef(coarse.clean.ravel(), there.ravel())[0, 1] > 0.9
    assert coarse.clean.std() == pytest.approx(there.std(), rel=0.3)


def test_a_real_series_lends_its_spectrum(scene, tmp_path):
    rough = np.random.default_rng(0).standard_normal((5, 96, 96))
    rough = 100 + 20 * ndimage.gaussian_filter(rough, (0, 1, 1))
    write_mrc(tmp_path / "real.mrc", rough.astype(np.float32), 12.0)
    series = taken(scene, spectrum_file=tmp_path / "real.mrc", write_tilt_series=True).tilt_series
    wanted, matched = spectra_of(rough, 12.0), spectra_of(series, 10.0)
    inside = matched.frequencies < wanted.frequencies[-1]
    expected = np.interp(matched.frequencies[inside], wanted.frequencies, wanted.power.mean(0))
    assert np.median(np.abs(np.log(matched.power.mean(0)[inside] / expected))) < 0.3


@pytest.mark.parametrize("model", ["weak_phase", "multislice"])
def test_the_same_seed_takes_the_same_image_with_any_number_of_threads(scene, model):
    config = ImagingConfig.model_validate({**QUICK.model_dump(), "model": model, "shift_sd": 5.0})
    one, two = (image(scene.density, 10.0, config, np.random.default_rng(5), threads=threads) for threads in (1, 3))
    assert one.reconstruction.tobytes() == two.reconstruction.tobytes()
    assert one.even.tobytes() == two.even.tobytes()
    assert one.params == two.params
    assert one.reconstruction.dtype == np.float32


def test_tilts_come_from_a_file(scene, tmp_path):
    (tmp_path / "a.tlt").write_text("-40\n-20\n0\n20\n40.5\n")
    assert taken(scene, tilt_file=tmp_path / "a.tlt").geometry.tilts_deg.tolist() == [-40, -20, 0, 20, 40.5]
    (tmp_path / "b.tlt").write_text("-40\nmany\n")
    with pytest.raises(InputError, match=r"b\.tlt"):
        taken(scene, tilt_file=tmp_path / "b.tlt")
    (tmp_path / "c.txt").write_text("0\n")
    with pytest.raises(InputError, match=r"c\.txt"):
        taken(scene, tilt_file=tmp_path / "c.txt")


def test_tilts_come_from_shrecs_metafile(shared_data, scene):
    imaged = taken(scene, tilt_file=shared_data / "simconfig/model_0.meta")
    assert len(imaged.geometry) == 61
    assert imaged.geometry.tilts_deg[0] == pytest.approx(-59.995)


def test_an_empty_sample_has_no_snr():
    empty = np.zeros(SHAPE, np.float32)
    with pytest.raises(InputError, match="needs particles"):
        image(empty, 10.0, ImagingConfig(snr_particle=0.1), np.random.default_rng(0), occupancy=empty)
    with pytest.raises(InputError, match="constant"):
        image(empty, 10.0, ImagingConfig(snr_volume=0.1), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("density", "voxel_size", "settings", "words"),
    [
        (np.zeros((4, 4), np.float32), 10.0, {}, r"z, y, x"),
        (np.full(SHAPE, np.nan, np.float32), 10.0, {}, "not finite"),
        (np.zeros(SHAPE, np.float32), 0.0, {}, "voxel size"),
        (np.zeros(SHAPE, np.float32), 10.0, {"binning": 5}, "binned"),
        (np.zeros(SHAPE, np.float32), 10.0, {"detector_pixel": 20.0}, "larger"),
        (np.zeros(SHAPE, np.float32), 10.0, {"mean_free_path": 0.1}, "hardly an electron"),
    ],
)
def test_impossible_samples_are_refused(density, voxel_size, settings, words):
    with pytest.raises(InputError, match=words):
        image(density, voxel_size, ImagingConfig(**settings), np.random.default_rng(0))


def test_an_occupancy_of_another_shape_is_refused(scene):
    with pytest.raises(InputError, match="the occupancy has the shape"):
        image(
            scene.density, 10.0, ImagingConfig(snr_particle=0.1), np.random.default_rng(0), occupancy=np.ones((3, 3, 3))
        )


@pytest.mark.parametrize("model", ["weak_phase", "multislice"])
def test_torch_takes_the_same_image(scene, model):
    pytest.importorskip("torch")
    config = ImagingConfig(tilt_step_deg=30.0, model=model, poisson=False, halves="tilts")
    mask = np.ones(SHAPE, dtype=bool)
    mask[:4] = False
    ours, theirs = (  # "cpu:0" is torch's own name of the CPU: the path that GPUs take
        image(scene.density, 10.0, config, np.random.default_rng(0), sample_mask=mask, device=device)
        for device in ("cpu", "cpu:0")
    )
    for name in ("reconstruction", "even", "odd", "clean"):
        expected = getattr(ours, name)
        assert np.abs(getattr(theirs, name) - expected).max() < 1e-4 * np.ptp(expected)


def test_a_missing_gpu_is_told_and_auto_does_without(scene, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = ImagingConfig(tilt_step_deg=30.0)
    with pytest.raises(InputError, match="no CUDA GPU"):
        image(scene.density, 10.0, config, np.random.default_rng(0), device="cuda")
    one, two = (image(scene.density, 10.0, config, np.random.default_rng(0), device=d) for d in ("cpu", "auto"))
    assert np.array_equal(one.reconstruction, two.reconstruction)
