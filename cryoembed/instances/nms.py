"""The one non-maximum suppression: of picks closer than a radius the best survives, across classes and tiles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree


def non_maximum_suppression(
    positions_zyx: npt.ArrayLike, scores: npt.ArrayLike, radius: float
) -> npt.NDArray[np.int64]:
    """Keep the best of all picks within a radius of each other.

    Parameters
    ----------
    positions_zyx
        (n, 3) in A.
    scores
        (n,), higher is better; equal scores keep their order.
    radius
        A. Survivors are farther apart than this; every pick dropped lies within it of a survivor that is no worse.

    Returns
    -------
    (m,) indices of the survivors, best first.

    Raises
    ------
    ValueError
        If the lengths differ, a position or score is not finite, or the radius is negative.
    """
    positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    if len(positions) != len(values):
        raise ValueError(f"{len(values)} scores for {len(positions)} positions")
    if not (np.isfinite(positions).all() and np.isfinite(values).all()):
        raise ValueError("positions and scores must be finite numbers")
    if not radius >= 0:
        raise ValueError(f"radius {radius} A: expected 0 or more")
    order = np.argsort(-values, kind="stable")
    tree = cKDTree(positions) if len(positions) else None
    free = np.ones(len(positions), dtype=bool)
    survivors = []
    for row in order:
        if tree is None or not free[row]:
            continue
        survivors.append(int(row))
        free[tree.query_ball_point(positions[row], radius)] = False
    return np.asarray(survivors, dtype=np.int64)
