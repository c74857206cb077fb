"""The real tilt series that lends its spectrum: its images, their angles and which of them are fit for it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.mrc import read_mrc, read_mrc_header
from cryoembed.io.mrc_header import MrcHeader
from cryoembed.io.tilt_series import read_tilts
from cryoembed.io.tilt_table import TiltTable
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.spectrum import Spectra, spectra_of

logger = logging.getLogger(__name__)
_BESIDE = (".tlt", ".rawtlt")


def tilts_beside(images: Path) -> Path | None:
    """The .tlt or .rawtlt file of the same name, if there is one."""
    return next((path for suffix in _BESIDE if (path := images.with_suffix(suffix)).is_file()), None)


def check_spectrum(config: ImagingConfig) -> None:
    """Raise an `InputError` if ``spectrum_file`` can't be used: by its header alone, before the first sample is made."""
    if config.spectrum_file is not None:
        _pixel(config, read_mrc_header(config.spectrum_file))


def real_spectra(config: ImagingConfig, planned_deg: npt.NDArray[np.float64]) -> Spectra:
    """Radial power of the images of ``spectrum_file``, with their angles; images that a user put aside lend none.

    Angles come from ``spectrum_tilts``, else from the file beside; without either, the images count as spread evenly
    over the planned tilts, from the first to the last, and a warning says so.

    Raises
    ------
    InputError
        If a file can't be read, the numbers of angles and images differ, there is no pixel size, or no image is fit.
    """
    file = config.spectrum_file
    assert file is not None
    images, header = read_mrc(file)
    pixel = _pixel(config, header)
    path = config.spectrum_tilts or tilts_beside(file)
    if path is None:
        first, last = float(planned_deg.min()), float(planned_deg.max())
        logger.warning(
            "%s: no angles came with it; its images count as spread evenly from %g to %g degrees (spectrum_tilts)",
            file,
            first,
            last,
        )
        table = TiltTable(np.linspace(first, last, len(images)))
    else:
        table = read_tilts(path, images=len(images))
    used = np.arange(len(table)) if table.used is None else np.flatnonzero(table.used)
    if not len(used):
        raise InputError(f"{path} puts all images of {file} aside; none is left to lend its spectrum")
    try:
        return spectra_of(images if table.used is None else images[used], pixel, table.tilts_deg[used])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _pixel(config: ImagingConfig, header: MrcHeader) -> float:
    pixel = header.voxel_size_zyx[2] if config.spectrum_pixel is None else config.spectrum_pixel
    if not pixel > 0:
        raise InputError(f"{config.spectrum_file} states no pixel size; give spectrum_pixel")
    return float(pixel)
