"""How alike a simulated and a recorded tilt series are, in numbers: level, spread and power of each tilt, and the SNR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError

Images = npt.NDArray[np.floating]
BIN_WIDTH = 0.05  # cycles / pixel
REFERENCE_BIN = 8  # 0.40-0.45 cycles / pixel: powers are relative to it


@dataclass(frozen=True, eq=False)
class SeriesStatistics:
    """What a tilt series looks like.

    Attributes
    ----------
    mean, standard_deviation
        (t,) of each image, in its own units.
    power
        (t, 10) radial power in bins of 0.05 cycles / pixel, relative to the bin 0.40-0.45.
    """

    mean: npt.NDArray[np.float64]
    standard_deviation: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]

    def scaled(self, factor: float) -> SeriesStatistics:
        """The same series in other units of intensity (a detector's gain)."""
        return SeriesStatistics(self.mean * factor, self.standard_deviation * factor, self.power)


def series_statistics(images: Images) -> SeriesStatistics:
    """Mean, s.d. and radial power of every image of a (t, y, x) tilt series.

    Raises
    ------
    InputError
        If it is no stack of images, holds non-finite values or an image is constant.
    """
    images = np.asarray(images)
    if images.ndim != 3 or min(images.shape[1:], default=0) < 32:
        raise InputError(f"tilt series: expected (tilt, y, x) images of at least 32 pixels, got shape {images.shape}")
    mean, spread, power = [], [], []
    for index, image in enumerate(images):
        pixels = np.asarray(image, dtype=np.float64)
        if not np.isfinite(pixels).all() or not np.ptp(pixels) > 0:
            raise InputError(f"tilt series: image {index} is constant or holds values that are not finite")
        mean.append(pixels.mean())
        spread.append(pixels.std())
        power.append(radial_power(pixels))
    return SeriesStatistics(np.array(mean), np.array(spread), np.array(power))


def radial_power(image: Images) -> npt.NDArray[np.float64]:
    """(10,) power of the central square (512 pixels at most) under a Hann window, relative to 0.40-0.45 cycles / pixel.

    The mean is taken off first: what is left in the first bin is the sample's large features.
    """
    height, width = image.shape
    edge = min(height, width, 512)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = np.asarray(image[top : top + edge, left : left + edge], dtype=np.float64)
    window = np.hanning(edge)
    spectrum = np.fft.rfft2((square - square.mean()) * window[:, None] * window[None, :])
    frequency = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)[None, :])
    bins = (frequency / BIN_WIDTH).astype(np.int64).ravel()
    weight = np.full(spectrum.shape, 2.0)  # of the half plane that rfft2 leaves out
    weight[:, 0] = 1
    if edge % 2 == 0:
        weight[:, -1] = 1
    keep = bins < 10
    total = np.bincount(bins[keep], (np.abs(spectrum) ** 2 * weight).ravel()[keep], minlength=10)
    power = total / np.bincount(bins[keep], weight.ravel()[keep], minlength=10)
    return np.asarray(power / power[REFERENCE_BIN], dtype=np.float64)


def fold(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How many times larger the larger of two positive numbers is, element by element (1: equal)."""
    ratio = np.asarray(ours, dtype=np.float64) / np.asarray(theirs, dtype=np.float64)
    return np.asarray(np.maximum(ratio, 1 / ratio), dtype=np.float64)


def snr_volume(noisy: Images, clean: Images) -> float:
    """``var(signal) / var(noise)`` over the volume, as SHREC 2021 (section 2.1) defines it.

    The noise is ``noisy - clean``; the signal's variance is what the noise does not explain of ``noisy``.
    """
    noise = float((np.asarray(noisy, dtype=np.float32) - np.asarray(clean, dtype=np.float32)).var(dtype=np.float64))
    total = float(np.asarray(noisy, dtype=np.float32).var(dtype=np.float64))
    if not noise > 0:
        raise InputError("SNR: the two volumes are equal, there is no noise to compare with")
    return (total - noise) / noise
