"""Cubic B-splines sampled on a turned grid, compiled: what a rotation of a small box costs, it costs here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.compiled import compiled


def affine_cubic(
    coefficients: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Sample a spline at ``matrix @ index + offset`` for every index of a volume of the same shape.

    The same as ``scipy.ndimage.affine_transform(coefficients, matrix, offset, order=3, prefilter=False,
    mode="grid-constant")`` to about 1e-6 of the largest value, several times as fast.

    Parameters
    ----------
    coefficients
        (z, y, x) cubic B-spline coefficients; zero outside.
    matrix
        (3, 3), output zyx to input zyx.
    offset
        (3,) zyx voxels.

    Returns
    -------
    (z, y, x) float32
    """
    out = np.zeros(coefficients.shape, dtype=np.float32)
    _affine_cubic(
        np.ascontiguousarray(coefficients, dtype=np.float32),
        np.ascontiguousarray(matrix, dtype=np.float64),
        np.ascontiguousarray(offset, dtype=np.float64),
        out,
    )
    return out


@compiled(inline="always")
def _weights(fraction: float, into: npt.NDArray[np.float32]) -> None:  # pragma: no cover
    """The four B-spline weights of a point between its second and third neighbour."""
    rest = 1.0 - fraction
    into[0] = rest * rest * rest / 6.0
    into[1] = 2.0 / 3.0 - 0.5 * fraction * fraction * (2.0 - fraction)
    into[2] = 2.0 / 3.0 - 0.5 * rest * rest * (2.0 - rest)
    into[3] = fraction * fraction * fraction / 6.0


@compiled(fastmath=True, error_model="numpy")
def _affine_cubic(
    coefficients: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
) -> None:  # pragma: no cover
    depth, height, width = out.shape
    wz, wy, wx = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    for i in range(depth):
        for j in range(height):
            z0 = matrix[0, 0] * i + matrix[0, 1] * j + offset[0]
            y0 = matrix[1, 0] * i + matrix[1, 1] * j + offset[1]
            x0 = matrix[2, 0] * i + matrix[2, 1] * j + offset[2]
            for k in range(width):
                z, y, x = z0 + matrix[0, 2] * k, y0 + matrix[1, 2] * k, x0 + matrix[2, 2] * k
                if z <= -2 or y <= -2 or x <= -2 or z >= depth + 1 or y >= height + 1 or x >= width + 1:
                    continue
                fz, fy, fx = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                _weights(z - fz, wz)
                _weights(y - fy, wy)
                _weights(x - fx, wx)
                total = np.float32(0.0)
                if fz >= 1 and fy >= 1 and fx >= 1 and fz < depth - 2 and fy < height - 2 and fx < width - 2:
                    for a in range(4):
                        for b in range(4):
                            row = coefficients[fz - 1 + a, fy - 1 + b]
                            line = wx[0] * row[fx - 1] + wx[1] * row[fx] + wx[2] * row[fx + 1] + wx[3] * row[fx + 2]
                            total += wz[a] * wy[b] * line
                else:
                    for a in range(max(0, 1 - fz), min(4, depth + 1 - fz)):
                        for b in range(max(0, 1 - fy), min(4, height + 1 - fy)):
                            for c in range(max(0, 1 - fx), min(4, width + 1 - fx)):
                                total += wz[a] * wy[b] * wx[c] * coefficients[fz - 1 + a, fy - 1 + b, fx - 1 + c]
                out[i, j, k] = total
