"""Which predicted point is which true point: one-to-one inside a radius, as many pairs as possible, then the nearest.

The one matcher of the house. Points that could be paired form small connected groups; the Hungarian algorithm runs
per group, so that thousands of points take milliseconds instead of one huge cost matrix.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cryoembed.errors import InputError

Pairs = npt.NDArray[np.int64]  # (k, 2): row of predicted, row of truth
Distances = npt.NDArray[np.float64]


def assign(predicted: npt.ArrayLike, truth: npt.ArrayLike, radius: float) -> Pairs:
    """Pair predicted with true points one-to-one within ``radius``.

    The number of pairs is the largest possible; among those assignments the sum of distances is the smallest.

    Parameters
    ----------
    predicted, truth
        (n, 3) and (m, 3) points in one unit and one frame.
    radius
        Largest distance of a pair, in the same unit; a pair at exactly the radius counts.

    Returns
    -------
    (k, 2) rows ``(predicted, truth)``, in the order of predicted.

    Raises
    ------
    InputError
        If the radius is not a positive number.
    """
    pairs, distances = candidate_pairs(predicted, truth, radius)
    if not len(pairs):
        return pairs
    groups = _groups(pairs)
    order = np.argsort(groups, kind="stable")
    pairs, distances, groups = pairs[order], distances[order], groups[order]
    starts = np.flatnonzero(np.r_[True, np.diff(groups) > 0, True])
    found = [
        pairs[low:high] if high - low == 1 else _assign_group(pairs[low:high], distances[low:high], radius)
        for low, high in pairwise(starts)
    ]
    kept = np.concatenate(found)
    return kept[np.argsort(kept[:, 0], kind="stable")]


def candidate_pairs(predicted: npt.ArrayLike, truth: npt.ArrayLike, radius: float) -> tuple[Pairs, Distances]:
    """All pairs ``(predicted, truth)`` within ``radius``, with their distances, in order of predicted."""
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"radius {radius} is not a positive distance; give about half of a particle's diameter")
    predicted = np.asarray(predicted, dtype=np.float64).reshape(-1, 3)
    truth = np.asarray(truth, dtype=np.float64).reshape(-1, 3)
    if not len(predicted) or not len(truth):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    # a hair more than the radius, then the exact test: the tree's own rounding decides nothing
    near = [
        np.asarray(found, dtype=np.int64) for found in cKDTree(truth).query_ball_point(predicted, radius * (1 + 1e-9))
    ]
    rows = np.repeat(np.arange(len(predicted), dtype=np.int64), [len(found) for found in near])
    columns = np.concatenate(near)
    distances = np.linalg.norm(predicted[rows] - truth[columns], axis=1)
    inside = distances <= radius
    return np.stack([rows, columns], axis=1)[inside], distances[inside]


def greedy_hits(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, scores: npt.ArrayLike, radius: float
) -> npt.NDArray[np.bool_]:
    """(n,) which predictions find a true point when they choose in order of score, each the nearest one still free.

    This is the matching of average precision: of two predictions of one particle the better scored is the hit and the
    other a false positive. Among equal scores the nearer prediction chooses first.
    """
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    pairs, distances = candidate_pairs(predicted, truth, radius)
    hits = np.zeros(len(scores), dtype=bool)
    taken: set[int] = set()
    for edge in np.lexsort((distances, -scores[pairs[:, 0]])):
        row, column = int(pairs[edge, 0]), int(pairs[edge, 1])
        if hits[row] or column in taken:
            continue
        hits[row] = True
        taken.add(column)
    return hits


def _groups(pairs: Pairs) -> npt.NDArray[np.int64]:
    """Connected group of every edge of the graph between predicted and true points."""
    predicted, rows = np.unique(pairs[:, 0], return_inverse=True)
    truth, columns = np.unique(pairs[:, 1], return_inverse=True)
    size = len(predicted) + len(truth)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (rows, columns + len(predicted))), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels[rows], dtype=np.int64)


def _assign_group(pairs: Pairs, distances: Distances, radius: float) -> Pairs:
    predicted, rows = np.unique(pairs[:, 0], return_inverse=True)
    truth, columns = np.unique(pairs[:, 1], return_inverse=True)
    # one missing pair costs more than all distances together: number of pairs first, then nearness
    forbidden = radius * (min(len(predicted), len(truth)) + 1)
    cost = np.full((len(predicted), len(truth)), forbidden)
    cost[rows, columns] = distances
    best_rows, best_columns = linear_sum_assignment(cost)
    allowed = cost[best_rows, best_columns] < forbidden
    return np.stack([predicted[best_rows[allowed]], truth[best_columns[allowed]]], axis=1)
