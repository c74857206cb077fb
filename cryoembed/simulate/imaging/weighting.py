"""What weights tilt images before back-projection: ramp, soft window, exposure and the angle each tilt stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.blocks import check_out, row_blocks
from cryoembed.simulate.imaging.geometry import tilt_vectors
from cryoembed.simulate.imaging.optics import damage
from cryoembed.simulate.threads import in_threads

Images = npt.NDArray[np.float32]


def ramp_filter(
    images: npt.NDArray[Any],
    pixel_size: float,
    *,
    tilts_deg: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    doses: npt.ArrayLike | None = None,
    hann: bool = True,
    threads: int | None = None,
    out: Images | None = None,
) -> Images:
    """Weight tilt images so that their back-projection is a density.

    ``|k_u|`` (Radermacher 2006, section 3: the inverse of the sampling density about one axis) times a soft Hann
    window in the radial frequency, 1 up to a quarter of Nyquist and 0 from 1.05 Nyquist on.

    Parameters
    ----------
    images
        (t, y, u) aligned images; beyond their borders they are continued smoothly, not by zeros, for the sample goes on.
    pixel_size
        A.
    tilts_deg
        (t,) gives every image the angle that it stands for (`angular_weights`); without it each counts 1.
    weights
        (t,) extra weights, or None.
    doses
        (t,) accumulated exposure in e/A^2 for `dose_weights`, or None.
    hann
        False leaves the bare ramp.
    threads
        How many CPU threads; default: all that this process may use.
    out
        (t, y, u) float32 to write into; may be ``images`` themselves.

    Returns
    -------
    (t, y, u) float32.
    """
    count, height, width = images.shape
    gain = np.ones(count)
    for name, given in (("tilts_deg", tilts_deg), ("weights", weights), ("doses", doses)):
        if given is not None and np.shape(given) != (count,):
            raise InputError(f"{name} has the shape {np.shape(given)} for {count} images; expected one number each")
    if tilts_deg is not None:
        gain = gain * angular_weights(tilts_deg)
    if weights is not None:
        gain = gain * np.asarray(weights, dtype=np.float64)
    pad_y, pad_u = _padding(height), _padding(width)
    shape = height + pad_y, width + pad_u
    ramp = _ramp(shape[1])[None]
    ky, ku = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]
    radius = np.hypot(ky, ku)
    window = 0.5 * (1 + np.cos(np.pi * np.clip((radius / 0.5 - 0.25) / 0.8, 0, 1))) if hann else 1.0
    transfer = (ramp * window * np.ones_like(radius)).astype(np.float32)
    filtered = check_out(out, (count, height, width))

    def work(some: slice) -> None:
        for t in range(some.start, some.stop):
            spectrum = fft.rfft2(_continued(np.asarray(images[t], dtype=np.float32), pad_y, pad_u))
            spectrum *= transfer * np.float32(gain[t])
            if doses is not None:
                spectrum *= dose_weights(radius / pixel_size, np.asarray(doses, dtype=np.float64)[t])
            filtered[t] = fft.irfft2(spectrum, s=shape)[:height, :width]

    in_threads(work, row_blocks(count, 1), threads)
    return filtered


def angular_weights(tilts_deg: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(t,) radians that each tilt stands for: half of the gap to its neighbours on either side.

    At the ends the inner gap counts for the outer one as well. One tilt alone stands for half a circle; equal tilts
    share their angle. With these weights a full half circle of ramp-filtered projections adds up to the density.
    """
    tilts = np.deg2rad(np.atleast_1d(np.asarray(tilts_deg, dtype=np.float64)))
    tilt_vectors(tilts)
    values, inverse, counts = np.unique(tilts, return_inverse=True, return_counts=True)
    if len(values) == 1:
        return np.full(len(tilts), np.pi / len(tilts))
    gaps = np.diff(values)
    gaps = np.concatenate([gaps[:1], gaps, gaps[-1:]])
    return np.asarray(((gaps[1:] + gaps[:-1]) / 2 / counts)[inverse], dtype=np.float64)


def dose_weights(frequency: npt.ArrayLike, dose: float) -> npt.NDArray[np.float32]:
    """Weight of spatial frequencies (1/A) after an exposure (e/A^2): what radiation has left of them (`optics.damage`)."""
    return np.asarray(damage(frequency, dose), dtype=np.float32)


def _ramp(size: int) -> npt.NDArray[np.float64]:
    """|k| for rfft frequencies in cycles per pixel, from the band-limited kernel.

    Sampling |k| itself sets the mean of every image to 0 and darkens the surroundings of large objects; the kernel of
    Kak and Slaney 1988, equation 61, does not.
    """
    at = fft.fftfreq(size, 1 / size).round()
    kernel = np.zeros(size)
    odd = at % 2 == 1
    kernel[odd] = -1 / (np.pi * at[odd]) ** 2
    kernel[0] = 0.25
    return np.asarray(fft.rfft(kernel).real, dtype=np.float64)


def _padding(size: int) -> int:
    return int(fft.next_fast_len(size + max(size // 2, 32), real=True)) - size


def _continued(image: Images, pad_y: int, pad_u: int) -> Images:
    """The image, continued at its far ends by a smooth way from the last row (column) back to the first."""
    rows = _way_back(image[-1], image[0], pad_y)
    image = np.concatenate([image, rows])
    columns = _way_back(image[:, -1], image[:, 0], pad_u)
    return np.concatenate([image, columns.T], axis=1)


def _way_back(last: Images, first: Images, count: int) -> Images:
    share = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count, dtype=np.float32)[:, None] + 1) / (count + 1))
    return np.asarray((1 - share) * last + share * first, dtype=np.float32)
