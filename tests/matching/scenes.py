"""A lopsided density, and volumes in which it lies at known places."""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from cryoembed.matching.template import wedge

BOX, RADIUS, TILT = 20, 9.0, 60.0


def template() -> np.ndarray:
    """Three balls of different size, none of which another rotation covers."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    balls = (((3, 0, -2), 4.0, 1.0), ((-2, 4, 2), 2.0, 1.2), ((-3, -3, -3), 2.0, 0.7))
    return sum(
        height * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / width) for (a, b, c), width, height in balls
    ).astype(np.float32)


def turned(rotation: Rotation) -> np.ndarray:
    """The template as `rotation` (particle to tomogram, acting on xyz) turns it, by SciPy alone."""
    inverse = rotation.inv().as_matrix()[::-1, ::-1]  # xyz to zyx
    centre = np.full(3, BOX // 2)
    return np.asarray(affine_transform(template(), inverse, centre - inverse @ centre, order=3, mode="constant"))


def planted(shape: tuple[int, int, int], centre: tuple[int, int, int], rotation: Rotation) -> np.ndarray:
    """A volume with the turned template (box centre at ``centre``), seen through tilts up to `TILT` degrees."""
    volume = np.zeros(shape, dtype=np.float32)
    low = [middle - BOX // 2 for middle in centre]
    z, y, x = (slice(start, start + BOX) for start in low)
    volume[z, y, x] = turned(rotation)
    return np.asarray(fft.irfftn(fft.rfftn(volume) * wedge(shape, TILT), shape))
