"""The fast microscope: noise level, wedge, band limit and scale are what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoembed.preprocess.spectrum import LIMIT, flatten_into, frequency, measured_power, power_by_shell
from cryoembed.views.imaging import (
    ImagingRanges,
    draw_microscopes,
    expected_power,
    flattened,
    image,
    radial_power,
    transmitted,
    white_spectrum,
)

SHAPE = (32, 32, 32)
FLAT = ("envelope", "noise_slope", "noise_rise", "noise_ramp", "soft_filter", "tilt_falloff")
PLAIN = {"ctf_probability": 0.0, **dict.fromkeys(FLAT, (0.0, 0.0))}


def microscopes(count: int = 4, **changes: object):  # type: ignore[no-untyped-def]
    settings = {"band_limit_probability": 0.0, "contrast_gain": (1.0, 1.0), "axis_jitter_deg": 0.0, **changes}
    return draw_microscopes(count, SHAPE, 10.0, ImagingRanges.model_validate(settings), np.random.default_rng(0))


def test_white_spectrum_is_white_noise_of_variance_one() -> None:
    noise = torch.fft.irfftn(white_spectrum((16, *SHAPE), np.random.default_rng(0)), s=SHAPE, dim=(1, 2, 3))
    assert float(noise.var()) == pytest.approx(1.0, rel=0.02)
    assert float((noise[..., 1:] * noise[..., :-1]).mean()) == pytest.approx(0.0, abs=0.01)
    assert noise.var(dim=(0, 1, 2)).std() < 0.05


def test_noise_variance_follows_the_snr() -> None:
    for snr in (0.05, 1.0):
        drawn = microscopes(**PLAIN, snr=(snr, snr), clip_sigma=(50.0, 50.0))
        noisy = image(
            torch.zeros(4, *SHAPE),
            drawn,
            particle_variance=torch.full((4,), 0.2),
            volume_variance=torch.zeros(4),
            generator=np.random.default_rng(1),
        )
        assert float(noisy.var()) == pytest.approx(1.0, rel=0.05)  # normalised
        signal = torch.zeros(4, *SHAPE)
        signal[:, 16, 16, 16] = 1e4
        peak = image(
            signal,
            drawn,
            particle_variance=torch.full((4,), 0.2),
            volume_variance=torch.zeros(4),
            generator=np.random.default_rng(1),
        )[:, 16, 16, 16]
        passed = drawn.signal[0].mean()  # of a delta, the peak is the mean of the transfer function
        assert float(peak[0]) == pytest.approx(min(50.0, 1e4 * float(passed) / np.sqrt(0.2 / snr)), rel=0.05)


def test_wedge_is_empty_around_z_and_full_along_x() -> None:
    drawn = microscopes(tilt_max_deg=(60.0, 60.0), **PLAIN)
    for filters in (drawn.signal, drawn.noise):
        assert not filters[:, 3:29, :, 0].any()  # along z, the beam
        assert (filters[:, 0, 0, 1:] == 1).all()  # along x
        assert (filters[:, 0, :, 0] > 0).all()  # along y, the tilt axis
        share = filters[:, :, :, 1:-1].gt(0.5).float().mean()
        assert 0.6 < float(share) < 0.75  # 60 of 90 degrees, in a cube


def test_band_limit_leaves_nothing_beyond_nyquist_of_coarser_voxels() -> None:
    drawn = microscopes(band_limit_probability=1.0, band_limit=(0.25, 0.2500001), **PLAIN)
    assert not drawn.signal[:, :, :, 9:].any()
    assert not drawn.signal[:, 9:23].any()
    assert drawn.noise[:, 0, 0, 7].gt(0).all()


def test_transmitted_predicts_the_variance_that_passes() -> None:
    volume = torch.zeros(1, *SHAPE)
    volume[0, 10:20, 12:22, 9:19] = 1
    drawn = microscopes(8, tilt_max_deg=(50.0, 66.0))
    passed = torch.fft.irfftn(torch.fft.rfftn(volume, dim=(1, 2, 3)) * drawn.signal, s=SHAPE, dim=(1, 2, 3))
    measured = passed.var(dim=(1, 2, 3)) / volume.var()
    assert torch.allclose(transmitted(drawn.signal, radial_power(volume)), measured, rtol=0.25, atol=0.01)


def test_clean_microscopes_keep_the_density() -> None:
    drawn = microscopes(clean_probability=1.0)
    assert (drawn.signal == 1).all()
    assert (drawn.snr == 100).all()


def test_back_projected_noise_grows_with_the_distance_from_the_tilt_axis() -> None:
    drawn = microscopes(tilt_max_deg=(60.0, 60.0), **{**PLAIN, "noise_ramp": (0.5, 0.5)})
    power = drawn.noise[0].square()
    assert np.isclose(power[0, 0, 8] / power[0, 0, 4], 2.0, rtol=1e-5)  # along x
    assert np.isclose(power[0, 0, 4], power[0, 10, 4], rtol=1e-5)  # not along y, the axis


def test_tilt_falloff_weights_by_the_cosine_of_the_tilt() -> None:
    drawn = microscopes(tilt_max_deg=(60.0, 60.0), **{**PLAIN, "tilt_falloff": (1.0, 1.0)})
    assert np.isclose(drawn.signal[0, 4, 0, 4], np.sqrt(0.5), rtol=1e-5)
    assert np.isclose(drawn.signal[0, 0, 5, 4], 1.0, rtol=1e-5)


def test_expected_power_is_that_of_the_images() -> None:
    """Of a signal that fills the crops, as particles do a tomogram, and of noise, each with a filter of its own."""
    count = 40
    drawn = microscopes(1, snr=(0.7, 0.7), clip_sigma=(50.0, 50.0)).of(np.zeros(count, dtype=np.int64))
    generator = np.random.default_rng(2)
    fall = torch.from_numpy(np.exp(-10 * frequency(SHAPE) ** 2))
    smooth = torch.fft.irfftn(white_spectrum((count, *SHAPE), generator) * fall, s=SHAPE)
    power = radial_power(smooth)
    filtered = smooth.var() * transmitted(drawn.signal, power)
    images = image(smooth, drawn, particle_variance=filtered, volume_variance=filtered, generator=generator)
    expected = expected_power(drawn, power, particle_variance=filtered, volume_variance=filtered)
    periodogram = torch.fft.rfftn(images, dim=(1, 2, 3)).abs().square().numpy() / np.prod(SHAPE)
    measured = power_by_shell(periodogram, SHAPE).mean(axis=0)
    strong = expected[0] > 0.01 * expected[0].max()
    strong[0] = False  # the mean
    np.testing.assert_allclose(measured[strong], expected[0, strong], rtol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_boxes_of_trainings_are_flattened_as_tomograms_are(seed: int) -> None:
    """One microscope's noise, once as boxes with their expected power, once as a tomogram whose power is measured."""
    ranges = ImagingRanges(snr=(0.1, 0.1), clip_sigma=(50.0, 50.0), contrast_gain=(1.0, 1.0))
    sizes = ((36, 36, 36), (96, 96, 96))
    small, large = (draw_microscopes(1, size, 10.0, ranges, np.random.default_rng(seed)) for size in sizes)
    none, one = torch.zeros(48), torch.ones(48)
    many, generator = small.of(np.zeros(48, dtype=np.int64)), np.random.default_rng(1)
    noise = image(torch.zeros(48, *sizes[0]), many, particle_variance=one, volume_variance=none, generator=generator)
    boxes = flattened(noise, expected_power(many, torch.ones(256), particle_variance=one, volume_variance=none))
    tomogram = image(
        torch.zeros(1, *sizes[1]), large, particle_variance=one[:1], volume_variance=none[:1], generator=generator
    )[0].numpy()
    out = np.empty_like(tomogram)
    flatten_into(out, tomogram, measured_power(tomogram))
    assert boxes.dtype == torch.float32
    assert float(flattened(noise * 100, np.ones((48, 24))).abs().max()) == LIMIT
    assert float(boxes.std()) == pytest.approx(1, abs=0.05)
    assert out.std() == pytest.approx(1, abs=0.05)
    of_boxes = np.mean([measured_power(box) for box in boxes.numpy()], axis=0)
    np.testing.assert_allclose(of_boxes[1:12], measured_power(out)[1:12], rtol=0.2, atol=0.1)
