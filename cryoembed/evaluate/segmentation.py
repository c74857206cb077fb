"""How well label volumes agree voxel by voxel: Dice per class, and instances matched by overlap (IoU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from cryoembed.errors import InputError

AP_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)  # of table 7 (CryoSiam, section 4.3.3)


@dataclass(frozen=True)
class InstanceScore:
    """Instances matched one-to-one at one IoU threshold; ``average_precision = tp / (tp + fp + fn)``."""

    threshold: float
    tp: int
    fp: int
    fn: int
    average_precision: float
    mean_iou: float  # of the matched pairs; 0 without any


def dice(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """Dice overlap ``2 |A and B| / (|A| + |B|)`` of two boolean volumes of one shape; 1 when both are empty."""
    _same_shape(predicted, truth)
    a, b = np.asarray(predicted, dtype=bool), np.asarray(truth, dtype=bool)
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def dice_per_class(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> dict[int, float]:
    """Dice of every class number above 0 that occurs in either of two label volumes of one shape."""
    _same_shape(predicted, truth)
    numbers = np.union1d(np.unique(predicted), np.unique(truth))
    return {int(number): dice(predicted == number, truth == number) for number in numbers if number > 0}


def score_instances(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any], *, thresholds: Sequence[float] = (0.5, 0.75)
) -> list[InstanceScore]:
    """Match instances of two label volumes one-to-one at each IoU threshold.

    The assignment has the most pairs at or above the threshold and, among those, the largest summed IoU
    (the matching of StarDist: Weigert et al. 2020).

    Parameters
    ----------
    predicted, truth
        (z, y, x) integer labels of one shape, 0 = background.
    """
    _same_shape(predicted, truth)
    overlap = _intersection_over_union(predicted, truth)
    return [_score_at(overlap, threshold) for threshold in thresholds]


def mean_precision(scores: Sequence[InstanceScore]) -> float:
    """AP of one tomogram: the mean of ``tp / (tp + fp + fn)`` over thresholds (CryoSiam, equations 21 and 22)."""
    return float(np.mean([score.average_precision for score in scores]))


def _score_at(overlap: npt.NDArray[np.float64], threshold: float) -> InstanceScore:
    n_predicted, n_truth = overlap.shape
    allowed = (overlap >= threshold) & (overlap > 0)
    rows, columns = linear_sum_assignment(-(allowed * (1 + overlap / (min(n_predicted, n_truth) + 1))))
    kept = allowed[rows, columns]
    tp = int(kept.sum())
    fp, fn = n_predicted - tp, n_truth - tp
    return InstanceScore(
        threshold=float(threshold),
        tp=tp,
        fp=fp,
        fn=fn,
        average_precision=tp / (tp + fp + fn) if tp + fp + fn else 1.0,
        mean_iou=float(overlap[rows, columns][kept].mean()) if tp else 0.0,
    )


def _intersection_over_union(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(predicted, true) IoU of every pair of instances, from one pass over the voxels."""
    predicted_ids, rows = np.unique(predicted, return_inverse=True)
    truth_ids, columns = np.unique(truth, return_inverse=True)
    flat = rows.reshape(-1) * len(truth_ids) + columns.reshape(-1)
    shared = np.bincount(flat, minlength=len(predicted_ids) * len(truth_ids))
    table = shared.reshape(len(predicted_ids), len(truth_ids)).astype(np.float64)
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    return np.asarray((table / np.maximum(union, 1))[predicted_ids > 0][:, truth_ids > 0], dtype=np.float64)


def _same_shape(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> None:
    if predicted.shape != truth.shape:
        raise InputError(f"label volumes differ in shape: {predicted.shape} and {truth.shape}; crop both alike")
