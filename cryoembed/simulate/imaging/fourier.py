"""Images in Fourier space: grids of frequencies, and filters that meet a mirror at an image's borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

Filter = npt.NDArray[np.float32]
Image = npt.NDArray[np.float32]


def frequency_grid(shape: tuple[int, int], pixel: float, *, half: bool = True) -> tuple[Filter, Filter]:
    """Spatial frequencies (1/A) ky (y, 1) and kx (1, u) of an image's rfft2, or fft2 where not ``half``."""
    kx = np.fft.rfftfreq(shape[1], pixel) if half else np.fft.fftfreq(shape[1], pixel)
    return np.fft.fftfreq(shape[0], pixel).astype(np.float32)[:, None], kx.astype(np.float32)[None, :]


def mirrored_grid(shape: tuple[int, int], pixel: float) -> tuple[Filter, Filter]:
    """Spatial frequencies (1/A) ky (y, 1) and kx (1, u) of an image's cosine transform: half as far apart."""
    ky, kx = (np.arange(size) / np.float32(2 * size * pixel) for size in shape)
    return ky.astype(np.float32)[:, None], kx.astype(np.float32)[None, :]


def filtered(image: Image, transfer: npt.NDArray[np.floating[Any]] | float) -> Image:
    """The image (y, u), convolved as if it went on beyond its borders as in a mirror.

    A discrete Fourier transform would go on with the opposite border, and carry a dark row there.

    Parameters
    ----------
    transfer
        (y, u) on `mirrored_grid`, or one number; of filters that are even in ky and in kx.
    """
    if np.ndim(transfer) == 0:
        return np.asarray(image * np.asarray(transfer, dtype=np.float32))
    spectrum = fft.dctn(np.asarray(image, dtype=np.float32), norm="ortho")
    spectrum *= transfer
    return np.asarray(fft.idctn(spectrum, norm="ortho", overwrite_x=True), dtype=np.float32)
