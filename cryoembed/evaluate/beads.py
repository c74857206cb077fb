"""How sharp gold beads are: their width at half maximum, which tells of alignment, sampling and reconstruction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
_SMOOTH = 20.0  # A, s.d. by which a bead is found, not measured


def bead_widths(volume: npt.NDArray[np.generic], positions_zyx: Floats, voxel: float, around: float = 100.0) -> Floats:
    """Full width at half maximum of the dark beads near some positions.

    Parameters
    ----------
    volume
        (z, y, x), beads dark.
    positions_zyx
        (n, 3) in voxels of the volume; the darkest spot within ``around`` is taken for the bead.
    voxel, around
        A.

    Returns
    -------
    (n, 2) A along y and x; NaN where the profile does not fall to half of its height inside of the box.
    """
    reach = round(around / voxel)
    widths = []
    for position in np.round(positions_zyx).astype(int):
        low = np.maximum(position - 3 * reach, 0)
        box = tuple(slice(a, b) for a, b in zip(low, position + 3 * reach + 1, strict=True))
        bright = -np.asarray(volume[box], dtype=np.float32)
        near = tuple(slice(max(p - q - reach, 0), p - q + reach + 1) for p, q in zip(position, low, strict=True))
        smooth = ndimage.gaussian_filter(bright, _SMOOTH / voxel)[near]
        found = np.unravel_index(np.argmax(smooth), smooth.shape)
        z, y, x = (int(a) + s.start for a, s in zip(found, near, strict=True))
        base = np.median(bright[z])
        lines = ((bright[z, :, x], y), (bright[z, y], x))
        widths.append([voxel * half_width(np.asarray(line - base, np.float64), at) for line, at in lines])
    return np.asarray(widths, dtype=np.float64).reshape(-1, 2)


def half_width(profile: Floats, at: int) -> float:
    """Width of the peak near an index at half of its height, linear between samples; NaN if it runs out of the line."""
    start = max(at - 1, 0)
    at = start + int(np.argmax(profile[start : at + 2]))
    half = profile[at] / 2
    edges = []
    for step in (-1, 1):
        i = at
        while 0 <= i < len(profile) and profile[i] > half:
            i += step
        if not 0 <= i < len(profile):
            return float("nan")
        edges.append(i - step * (half - profile[i]) / (profile[i - step] - profile[i]))
    return float(edges[1] - edges[0])
