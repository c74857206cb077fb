"""The recorded cell of EMPIAR-10499 00254: where it lies, how its images lay, and one reconstruction for it and ours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from tests.benchmark.reconstruct_emp10499 import CROP, PIXEL

DEPTH = slice(CROP[0], CROP[0] + 96)  # planes that hold the cell, those of the provided crop
_EDGES = ((132.0, 0.4545), (458.0, 0.5))  # left and right edge: x at y = 0 and x per y, 10 A voxels, by eye
_FINE = 2
Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Shape = tuple[int, int, int]


def recorded_cell(shape: Shape, margin: float = 20.0) -> Mask:
    """Voxels inside of the recorded cell: between two straight lines, its membrane left out."""
    y, x = np.arange(shape[1])[:, None], np.arange(shape[2])[None]
    (left, left_slope), (right, right_slope) = _EDGES
    flat = (x > left + left_slope * y + margin) & (x < right + right_slope * y - margin)
    return np.broadcast_to(flat, shape).copy()


def laid_as(images: Volume, geometry: TiltGeometry) -> Volume:
    """Aligned images (t, y, u) as the raw ones of a geometry: what `alignment.align` undoes.

    Sampled twice as finely first, by Fourier padding, so that this resampling takes next to nothing; only that of the
    alignment is left, as in recorded images.
    """
    laid = np.empty_like(images)
    centre = np.array([size // 2 for size in images.shape[1:]], dtype=np.float64)
    for tilt, image in enumerate(images):
        angle = np.deg2rad(geometry.rotations_deg[tilt])
        back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        back /= geometry.magnifications[tilt]
        start = centre - back @ (centre + geometry.shifts_px[tilt])
        ndimage.affine_transform(
            _finer(image), _FINE * back, _FINE * start, output_shape=image.shape, output=laid[tilt], mode="nearest"
        )
    return laid


def _finer(image: Volume) -> Volume:
    height, width = image.shape
    spectrum = fft.fftshift(fft.rfft2(image), axes=0)
    extra = (_FINE - 1) * height
    before = (_FINE * height) // 2 - height // 2
    wide = np.pad(spectrum, ((before, extra - before), (0, _FINE * width // 2 + 1 - spectrum.shape[1])))
    return np.asarray(fft.irfft2(fft.ifftshift(wide, axes=0), s=(_FINE * height, _FINE * width)) * _FINE**2, "f4")


def rebuilt(images: Volume, geometry: TiltGeometry, shape: Shape) -> Volume:
    """Ramp x soft Hann x dose weight of images without their means."""
    flat = images - images.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return reconstruct(flat, geometry, shape, PIXEL)
