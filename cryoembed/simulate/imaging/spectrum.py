"""Spectrum matching: the radial amplitudes of a real tilt series, ring by ring, for a simulated one.

The last step of SHREC 2021's simulation: it lends real background and noise colour to images that lack their causes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.fourier import Filter, frequency_grid, mirrored_grid

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
_RINGS = 64  # at most, up to Nyquist
_FEW = 8  # frequencies; a ring of fewer says more of chance than of the image
_STRONGEST = 30.0  # no ring is changed by more than this factor


@dataclass(frozen=True, eq=False)
class Spectra:
    """Radial power of the relative contrast of tilt images.

    Attributes
    ----------
    frequencies
        (r,) 1/A, centres of the rings.
    power
        (t, r) A^2: mean squared Fourier amplitude, per pixel, times the pixel's area, so that it is the same at any
        sampling.
    tilts_deg
        (t,) of the images.
    """

    frequencies: Floats
    power: Floats
    tilts_deg: Floats

    def at(self, tilt_deg: float) -> Floats:
        """(r,) power of the image with the nearest angle."""
        return np.asarray(self.power[int(np.argmin(np.abs(self.tilts_deg - tilt_deg)))])


def radial_power(image: npt.NDArray[np.floating], pixel: float) -> tuple[Floats, Floats]:
    """Frequencies (r,) in 1/A and power (r,) in A^2 of an image's contrast relative to its mean.

    The mean itself is in no ring, for it was subtracted; inner rings with hardly a frequency are left out.

    Raises
    ------
    InputError
        If the image is constant or has no positive mean.
    """
    mean = float(np.mean(image, dtype=np.float64))
    if not mean > 0 or not np.isfinite(mean):
        raise InputError(f"spectrum matching: an image has the mean {mean:g}; expected counts, which are positive")
    # windowed, or the borders' step draws a cross through the spectrum
    window = np.hanning(image.shape[0] + 2)[1:-1, None] * np.hanning(image.shape[1] + 2)[None, 1:-1]
    window = window.astype(np.float32)
    relative = image.astype(np.float32) / np.float32(mean) - 1
    relative -= np.float32((relative * window).sum() / window.sum())
    power = np.abs(fft.rfft2(relative * window)) ** 2 * (pixel**2 / float((window**2).sum()))
    ky, kx = frequency_grid((image.shape[0], image.shape[1]), pixel)
    rings = min(_RINGS, min(image.shape) // 2)
    ring = (np.hypot(ky, kx) * (2 * pixel * rings)).astype(np.int32)
    inside = ring < rings
    inside[0, 0] = False
    total = np.bincount(ring[inside], weights=power[inside].astype(np.float64), minlength=rings)
    count = np.bincount(ring[inside], minlength=rings)
    some = np.flatnonzero(count >= _FEW)
    curve = total[some] / count[some]
    if not curve.min() > 0:
        raise InputError("spectrum matching: an image is constant, or lacks some frequencies altogether")
    return (some + 0.5) / (2 * pixel * rings), curve


def spectra_of(images: npt.NDArray[np.floating], pixel: float, tilts_deg: npt.ArrayLike) -> Spectra:
    """Radial power of the images of a tilt series (t, y, u); those that have none, such as blank ones, are left out.

    Parameters
    ----------
    pixel
        A.
    tilts_deg
        (t,) of the images, in their order.

    Raises
    ------
    InputError
        If this is no tilt series, or no image has a spectrum.
    """
    if images.ndim != 3:
        raise InputError(f"spectrum matching: a tilt series (tilt, y, x) was expected, got the shape {images.shape}")
    tilts = np.asarray(tilts_deg, dtype=np.float64)
    curves: dict[int, tuple[Floats, Floats]] = {}
    for index, image in enumerate(images):
        try:
            curves[index] = radial_power(np.asarray(image, dtype=np.float32), pixel)
        except InputError as error:
            logger.warning("image %d, at %g degrees, lends no spectrum: %s", index + 1, tilts[index], error)
    if not curves:
        raise InputError("spectrum matching: all images are blank; expected counts")
    return Spectra(
        next(iter(curves.values()))[0], np.stack([power for _, power in curves.values()]), tilts[list(curves)]
    )


def matching_filter(image: npt.NDArray[np.float32], pixel: float, wanted: Spectra, tilt_deg: float) -> Filter:
    """What gives an image the radial power of the real one with the nearest angle; for `fourier.filtered`.

    It is 1 at frequency 0, and below the first ring what it is there.

    Parameters
    ----------
    image
        (y, u) counts.
    """
    frequencies, power = radial_power(image, pixel)
    aim = np.interp(frequencies, wanted.frequencies, wanted.at(tilt_deg))
    gain = np.clip(np.sqrt(aim / power), 1 / _STRONGEST, _STRONGEST)
    ky, kx = mirrored_grid((image.shape[0], image.shape[1]), pixel)
    transfer = np.interp(np.hypot(ky, kx), frequencies, gain).astype(np.float32)
    transfer[0, 0] = 1
    return np.asarray(transfer)
