"""Images in Fourier space: the grid of their frequencies, and filters multiplied to it."""

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


def filtered(image: Image, transfer: npt.NDArray[np.floating[Any]] | float) -> Image:
    """The image (y, u) with its rfft2 multiplied."""
    if np.ndim(transfer) == 0:
        return np.asarray(image * np.asarray(transfer, dtype=np.float32))
    spectrum = fft.rfft2(image)
    spectrum *= transfer
    return np.asarray(fft.irfft2(spectrum, s=image.shape), dtype=np.float32)
