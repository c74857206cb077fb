"""From a map of scores to picks: local maxima between voxels, the best of each place, with the rotation found there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cryoembed import geometry
from cryoembed.errors import InputError
from cryoembed.instances.nms import non_maximum_suppression
from cryoembed.matching.search import MatchMap
from cryoembed.particles import Particles


def peaks(
    match: MatchMap,
    rotations: Rotation,
    voxel_size: float,
    *,
    tomogram: str,
    min_distance: float,
    count: int | None = None,
    threshold: float = 0.0,
    origin: geometry.Triple = geometry.ORIGIN,
) -> Particles:
    """Picks at the local maxima of a score map, best first.

    Parameters
    ----------
    match
        From `search.match_template`, with the same ``rotations``.
    voxel_size, origin
        A; the frame of the map.
    tomogram
        The name written into the table.
    min_distance
        A: of two picks nearer than this the better stays.
    count
        At most so many picks; None: all.
    threshold
        Lowest score of a pick.

    Returns
    -------
    Particles
        ``score``, and the rotation (particle to tomogram). Positions lie between voxels, where parabolas through the
        best voxel and its neighbours have their tops.

    Raises
    ------
    InputError
        If the rotations are fewer than the map speaks of.
    """
    turns = Rotation.from_quat(rotations.as_quat().reshape(-1, 4))
    if int(match.best_rotation.max()) >= len(turns):
        raise InputError(f"the map speaks of rotation {int(match.best_rotation.max())}, {len(turns)} were given")
    score = match.score
    # a plateau (flat volume, score 0) is no peak
    top = (score == ndimage.maximum_filter(score, 3, mode="nearest")) & (score >= threshold) & (score > 0)
    where = np.argwhere(top)
    if not len(where):
        return Particles.empty()
    values = score[top]
    positions = geometry.voxel_to_angstrom(where + _summit_offsets(score, where), voxel_size, origin)
    kept = non_maximum_suppression(positions, values, min_distance)[:count]
    turned = turns[match.best_rotation[top][kept]]
    return Particles.from_arrays(tomogram, positions[kept], rotations=turned, score=values[kept])


def _summit_offsets(score: npt.NDArray[np.float32], where: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(n, 3) voxels, within half a voxel: where the parabola along each axis is highest; 0 at borders."""
    offsets = np.zeros(where.shape)
    middle = score[tuple(where.T)].astype(np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=np.int64)[axis]
        inside = (where[:, axis] > 0) & (where[:, axis] < score.shape[axis] - 1)
        before, after = (score[tuple((where[inside] + sign * step).T)].astype(np.float64) for sign in (-1, 1))
        curvature = before - 2 * middle[inside] + after
        slope = (before - after) / 2
        offsets[inside, axis] = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature < 0)
    return np.clip(offsets, -0.5, 0.5)
