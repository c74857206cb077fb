"""Spectrum matching: the radial amplitudes of a real tilt series, ring by ring, for a simulated one.

The last step of SHREC 2021's simulation: it lends real background and noise colour to images that lack their causes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.fourier import Filter, frequency_grid

Floats = npt.NDArray[np.float64]
_RINGS = 64  # at most, up to Nyquist
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
    """

    frequencies: Floats
    power: Floats


def radial_power(image: npt.NDArray[np.floating], pixel: float) -> tuple[Floats, Floats]:
    """Frequencies (r,) in 1/A and power (r,) in A^2 of an image's contrast relative to its mean.

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
    total = np.bincount(ring[inside], weights=power[inside].astype(np.float64), minlength=rings)
    curve = total / np.bincount(ring[inside], minlength=rings)
    if not curve.min() > 0:
        raise InputError("spectrum matching: an image is constant, or lacks some frequencies altogether")
    return (np.arange(rings) + 0.5) / (2 * pixel * rings), curve


def spectra_of(images: npt.NDArray[np.floating], pixel: float) -> Spectra:
    """Radial power of every image of a tilt series (t, y, u)."""
    if images.ndim != 3:
        raise InputError(f"spectrum matching: a tilt series (tilt, y, x) was expected, got the shape {images.shape}")
    curves = [radial_power(np.asarray(image, dtype=np.float32), pixel) for image in images]
    return Spectra(curves[0][0], np.stack([power for _, power in curves]))


def matching_filter(image: npt.NDArray[np.float32], pixel: float, wanted: Spectra, place: float) -> Filter:
    """What multiplies the image's rfft2 to give it the radial power of a real one; 1 at frequency 0.

    Parameters
    ----------
    image
        (y, u) counts.
    place
        Which of the wanted spectra, as a share of the way through that series: 0 the first, 1 the last.
    """
    frequencies, power = radial_power(image, pixel)
    row = round(place * (len(wanted.power) - 1))
    aim = np.interp(frequencies, wanted.frequencies, wanted.power[row])
    gain = np.clip(np.sqrt(aim / power), 1 / _STRONGEST, _STRONGEST)
    ky, kx = frequency_grid((image.shape[0], image.shape[1]), pixel)
    transfer = np.interp(np.hypot(ky, kx), frequencies, gain).astype(np.float32)
    transfer[0, 0] = 1
    return np.asarray(transfer)
