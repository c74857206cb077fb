"""Statistics of tilt series: known spectra, the figures published of the real series, and wrong input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.evaluate.realism import fold, radial_power, series_statistics, snr_volume


def test_white_noise_has_flat_power() -> None:
    generator = np.random.default_rng(0)
    power = np.mean([radial_power(generator.normal(size=(300, 260))) for _ in range(16)], axis=0)
    np.testing.assert_allclose(power, 1, atol=0.15)


def test_a_wave_shows_in_the_bin_of_its_frequency() -> None:
    x = np.arange(256)
    image = np.random.default_rng(0).normal(size=(256, 256)) + 20 * np.sin(2 * np.pi * 0.225 * x)
    assert radial_power(image).argmax() == 4


def test_real_series_has_the_figures_measured_of_it(shared_data: Path) -> None:
    from cryoembed.io.mrc import read_mrc

    images, _ = read_mrc(shared_data / "tomograms/emp10499/00254_stack_f16.mrc")
    found = series_statistics(images[::5])
    np.testing.assert_allclose(found.mean, [16.5, 27.3, 34.8, 38.7, 39.8, 39.2, 35.8, 29.6, 19.5], atol=0.1)
    np.testing.assert_allclose(found.standard_deviation, [3.6, 4.1, 4.4, 4.8, 5.3, 4.9, 4.5, 4.1, 3.4], atol=0.11)
    np.testing.assert_allclose(found.power[4], [7.8, 2.4, 1.9, 1.9, 2.0, 1.9, 1.8, 1.4, 1.0, 0.74], rtol=0.05)


def test_fold_is_the_larger_ratio() -> None:
    np.testing.assert_allclose(fold([1.0, 3.0, 2.0], [2.0, 1.5, 2.0]), [2, 2, 1])


def test_snr_is_the_ratio_of_planted_variances() -> None:
    generator = np.random.default_rng(0)
    clean = generator.normal(0, 2.0, size=(40, 40, 40))
    assert snr_volume(clean + generator.normal(0, 4.0, size=clean.shape), clean) == pytest.approx(0.25, rel=0.05)


def test_equal_volumes_and_flat_or_broken_images_are_refused() -> None:
    volume = np.ones((4, 4, 4))
    with pytest.raises(InputError, match="no noise"):
        snr_volume(volume, volume)
    with pytest.raises(InputError, match="image 0 is constant"):
        series_statistics(np.zeros((2, 40, 40)))
    with pytest.raises(InputError, match="expected"):
        series_statistics(np.zeros((40, 40)))
