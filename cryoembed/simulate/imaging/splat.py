"""The inner loops of projection and its transpose: linear weights along u, a block of y rows in the SIMD lanes.

Volumes are (z, x, lanes) here and images (t, u + 2, lanes): one guard column on either side takes what falls half
outside. Every kernel runs without the GIL on one block, so that threads share the blocks out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoembed.simulate.compiled import compiled

LANES = 32  # rows of y per block; with 16 LLVM unrolls the inner loop before it vectorises it: 4 times slower
_ROWS = 8  # rows of z per pass over the tilts: with one image's block they stay in the L2 cache
_kernel = compiled(nogil=True, fastmath=True)


@_kernel
def to_lanes(rows: Any, out: Any) -> None:
    """(a, b, c) -> (a, c, lanes), lanes beyond b zero."""
    for i in range(rows.shape[0]):
        for k in range(rows.shape[2]):
            for j in range(rows.shape[1]):
                out[i, k, j] = rows[i, j, k]
            for j in range(rows.shape[1], LANES):
                out[i, k, j] = 0


@_kernel
def from_lanes(lanes: Any, skip: int, out: Any) -> None:
    """(a, skip + c + ..., lanes) -> (a, b, c)."""
    for i in range(out.shape[0]):
        for k in range(out.shape[2]):
            for j in range(out.shape[1]):
                out[i, j, k] = lanes[i, k + skip, j]


@_kernel
def splat(volume: Any, cosines: Any, sines: Any, centre_z: float, centre_x: float, centre_u: float, out: Any) -> None:
    """Add the projections of a block (z, x, lanes) at all tilts to ``out`` (t, u + 2, lanes)."""
    last = out.shape[1] - 2
    for first in range(0, volume.shape[0], _ROWS):
        for t in range(len(cosines)):
            step = cosines[t]
            for z in range(first, min(first + _ROWS, volume.shape[0])):
                start = centre_u + 1 - (z - centre_z) * sines[t] - centre_x * step
                for x in range(volume.shape[1]):
                    u = start + x * step
                    i = int(np.floor(u))
                    if i < 0 or i > last:
                        continue
                    above = np.float32(u - i)
                    below = np.float32(1) - above
                    for j in range(LANES):
                        value = volume[z, x, j]
                        out[t, i, j] += below * value
                        out[t, i + 1, j] += above * value


@_kernel
def gather(images: Any, cosines: Any, sines: Any, centre_z: float, centre_x: float, centre_u: float, out: Any) -> None:
    """Add to a block (z, x, lanes) what the images (t, u + 2, lanes) hold where each voxel projects."""
    last = images.shape[1] - 2
    for z in range(out.shape[0]):
        for t in range(len(cosines)):
            step = cosines[t]
            start = centre_u + 1 - (z - centre_z) * sines[t] - centre_x * step
            for x in range(out.shape[1]):
                u = start + x * step
                i = int(np.floor(u))
                if i < 0 or i > last:
                    continue
                above = np.float32(u - i)
                below = np.float32(1) - above
                for j in range(LANES):
                    out[z, x, j] += below * images[t, i, j] + above * images[t, i + 1, j]


@_kernel
def splat_slabs(
    volume: Any,
    cosine: float,
    sine: float,
    columns: int,
    centre_z: float,
    centre_x: float,
    centre_u: float,
    slab: float,
    out: Any,
) -> None:
    """Add a block (z, x, lanes) seen at one tilt to ``out`` (slabs, u + 2, lanes), by depth along the beam.

    ``columns`` are there per unit of u. A voxel fills one unit of depth; a slab border through it shares its density out.
    """
    last, count = out.shape[1] - 2, out.shape[0]
    for z in range(volume.shape[0]):
        for x in range(volume.shape[1]):
            u = centre_u + 1 + columns * ((x - centre_x) * cosine - (z - centre_z) * sine)
            i = int(np.floor(u))
            if i < 0 or i > last:
                continue
            above = np.float32(u - i)
            below = np.float32(1) - above
            depth = ((z - centre_z) * cosine + (x - centre_x) * sine) / slab + 0.5 * count
            half = 0.5 / slab
            s = min(max(int(np.floor(depth - half)), 0), count - 1)
            beyond = (
                np.float32(min(max((depth + half - (s + 1)) / (2 * half), 0.0), 1.0))
                if s + 1 < count
                else np.float32(0)
            )
            within = np.float32(1) - beyond
            for j in range(LANES):
                value = volume[z, x, j]
                out[s, i, j] += within * below * value
                out[s, i + 1, j] += within * above * value
            if beyond > 0:
                for j in range(LANES):
                    value = volume[z, x, j]
                    out[s + 1, i, j] += beyond * below * value
                    out[s + 1, i + 1, j] += beyond * above * value
