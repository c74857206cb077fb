"""Tilt images put right: shifts, in-plane turns and magnifications undone by resampling, and binning."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.blocks import row_blocks
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.threads import in_threads

Images = npt.NDArray[np.float32]


def align(
    images: npt.NDArray[Any],
    geometry: TiltGeometry,
    *,
    offset_px: tuple[float, float] = (0.0, 0.0),
    threads: int | None = None,
) -> Images:
    """Resample every raw image so that the tilt axis is y through the centre: ``aligned(p) = raw(c + m R p + shift)``.

    Cubic splines; beyond its border a raw image counts as continued by its outermost pixels, which the ramp filter
    forgives, unlike zeros.

    Parameters
    ----------
    images
        (t, y, u) raw.
    offset_px
        [v, u] added to p: the aligned image is moved by minus this (for volumes that are centred between rows).
    threads
        How many CPU threads; default: all that this process may use.

    Returns
    -------
    (t, y, u) float32.
    """
    geometry.check_images(len(images))
    if geometry.is_aligned and not any(offset_px):
        return np.array(images, dtype=np.float32)
    aligned = np.empty(images.shape, dtype=np.float32)
    centre = np.array([size // 2 for size in images.shape[1:]], dtype=np.float64)

    def work(some: slice) -> None:
        for t in range(some.start, some.stop):
            angle = np.deg2rad(geometry.rotations_deg[t])
            # on [v, u]: R turns u towards v
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            matrix = geometry.magnifications[t] * turn
            start = centre + matrix @ (np.array(offset_px) - centre) + geometry.shifts_px[t]
            image = np.asarray(images[t], dtype=np.float32)
            ndimage.affine_transform(image, matrix, start, output=aligned[t], order=3, mode="nearest")

    in_threads(work, row_blocks(len(images), 1), threads)
    return aligned


def fourier_crop(images: npt.NDArray[Any], binning: int) -> Images:
    """Bin images by cutting their Fourier transform: no aliasing, and pixel i stays at fine pixel ``i * binning``.

    Sizes are cut to multiples of twice the binning first, about the centre ``n // 2``, which stays the centre.
    """
    if binning == 1:
        return np.asarray(images, dtype=np.float32)
    if binning < 1 or binning != int(binning):
        raise InputError(f"binning is {binning}; expected a whole number, 1 or more")
    sizes = [size // (2 * binning) * binning for size in images.shape[1:]]  # half sizes
    if min(sizes) < 1:
        raise InputError(f"images of {images.shape[1:]} pixels cannot be binned by {binning}")
    window = tuple(
        slice(size // 2 - half, size // 2 + half) for size, half in zip(images.shape[1:], sizes, strict=True)
    )
    height, width = (2 * half // binning for half in sizes)
    binned = np.empty((len(images), height, width), dtype=np.float32)
    for t, image in enumerate(images):
        spectrum = fft.rfft2(np.asarray(image[window], dtype=np.float32))
        rows = np.r_[0 : (height + 1) // 2, spectrum.shape[0] - height // 2 : spectrum.shape[0]]
        part = spectrum[rows, : width // 2 + 1] / np.float32(binning**2)
        binned[t] = fft.irfft2(part, s=(height, width))
    return binned
