"""Which image of a real series lends its spectrum to which tilt: the one with the nearest angle that was kept."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io.mrc import write_mrc
from cryoembed.simulate.dataset import imaging_of
from cryoembed.simulate.digest import settings_digest
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.real_spectra import real_spectra
from tests.simulate.test_dataset import config

PLANNED = np.arange(-40.0, 41.0, 10.0)


@pytest.fixture
def series(tmp_path):
    """Images whose contrast tells them apart: 1, 2, 4 and 8 %."""
    noise = np.random.default_rng(0).standard_normal((4, 48, 48))
    images = 100 + 2.0 ** np.arange(4)[:, None, None] * noise
    write_mrc(tmp_path / "real.mrc", images.astype(np.float32), 10.0)
    return tmp_path / "real.mrc"


def lender(spectra, tilt_deg):
    """Which of the images (1 to 4) lends its spectrum."""
    return round(1 + float(np.log2(100 * np.sqrt(spectra.at(tilt_deg).mean() / 100))))


def test_the_nearest_angle_lends_whatever_the_order(series):
    series.with_name("order.tlt").write_text("20\n-20\n40\n-35\n")
    asked = ImagingConfig(spectrum_file=series, spectrum_tilts=series.with_name("order.tlt"))
    spectra = real_spectra(asked, PLANNED)
    assert [lender(spectra, angle) for angle in (-60, -20, 18, 33)] == [4, 2, 1, 3]


def test_angles_beside_count_and_change_the_data_set(series, caplog):
    own = config(imaging={"spectrum_file": series.name}, structure_folder=series.parent)
    before = settings_digest(own)
    series.with_suffix(".rawtlt").write_text("40\n20\n-20\n-40\n")
    assert imaging_of(own, 0).spectrum_tilts == series.with_suffix(".rawtlt")
    assert settings_digest(own) != before
    spectra = real_spectra(ImagingConfig(spectrum_file=series), PLANNED)
    assert [lender(spectra, angle) for angle in PLANNED[[0, -1]]] == [4, 1]
    assert not caplog.text


def test_without_angles_the_images_are_spread_evenly_which_is_said(series, caplog):
    spectra = real_spectra(ImagingConfig(spectrum_file=series), PLANNED)
    assert [lender(spectra, angle) for angle in (-40, -14, 14, 40)] == [1, 2, 3, 4]
    assert "spread evenly from -40 to 40 degrees" in caplog.text


def test_images_that_were_put_aside_lend_nothing(series):
    xml = "<TiltSeries><Angles>-30 -10 10 30</Angles><UseTilt>{}</UseTilt></TiltSeries>"
    path = series.with_name("kept.xml")
    path.write_text(xml.format("True False True True"))
    spectra = real_spectra(ImagingConfig(spectrum_file=series, spectrum_tilts=path), PLANNED)
    assert [lender(spectra, angle) for angle in (-40, -8, 0, 40)] == [1, 3, 3, 4]
    path.write_text(xml.format("False False False False"))
    with pytest.raises(InputError, match=r"kept\.xml puts all images of .*real\.mrc aside"):
        real_spectra(ImagingConfig(spectrum_file=series, spectrum_tilts=path), PLANNED)


def test_files_that_do_not_fit_are_named(series):
    series.with_name("short.tlt").write_text("0\n1\n")
    with pytest.raises(InputError, match=r"short\.tlt holds 2 tilts for a stack of 4"):
        real_spectra(ImagingConfig(spectrum_file=series, spectrum_tilts=series.with_name("short.tlt")), PLANNED)
    write_mrc(series, np.zeros((4, 48, 48), np.float32), 10.0)
    with pytest.raises(InputError, match=r"real\.mrc: spectrum matching: all images are blank"):
        real_spectra(ImagingConfig(spectrum_file=series), PLANNED)
