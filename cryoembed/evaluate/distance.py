"""The `distance` rule: a pick is right if it has its own true particle within a radius (one-to-one)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cryoembed.evaluate.match import assign, candidate_pairs, greedy_hits
from cryoembed.evaluate.retrieval import average_precision
from cryoembed.particles import Particles


@dataclass(frozen=True)
class DistanceScore:
    """Counts and ratios of one comparison; a ratio with nothing to divide by is 0.

    ``n_picks`` counts the picks that were judged (``tp + fp``); those on ``ignore`` points are in ``n_ignored``.
    ``average_precision`` is None where picks carry no score. ``mean_distance`` (A) is over the pairs, None without any.
    ``recall_per_label`` is the share of each true label that was found, whatever label the pick had.
    """

    radius: float
    n_truth: int
    n_picks: int
    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    average_precision: float | None
    mean_distance: float | None
    n_ignored: int = 0
    recall_per_label: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, DistanceScore] = field(default_factory=dict)


def score_distance(
    picks: Particles,
    truth: Particles,
    *,
    radius: float,
    per_class: bool = False,
    ignore: Particles | None = None,
) -> DistanceScore:
    """Compare picks with the truth, tomogram by tomogram.

    Pairs are the largest one-to-one assignment within the radius (`match.assign`); all other picks are false
    positives, duplicates too. Average precision pools all tomograms, ranks by score, lets each pick in that order take
    the nearest particle still free, and sums the steps without interpolation; equal scores enter together.

    Parameters
    ----------
    picks, truth
        Positions in A in one frame; truth labels ``""`` are allowed.
    radius
        A; about half of a particle's diameter.
    per_class
        Pairs must agree in label; totals are then sums over classes. Otherwise labels play no part (localisation).
    ignore
        Doubtful particles: a pick that has no true particle but one of these within the radius counts neither way.

    Raises
    ------
    InputError
        If the radius is not positive.
    """
    doubtful = Particles.empty() if ignore is None else ignore
    if not per_class:
        return _score(picks, truth, doubtful, radius)
    names = sorted({*map(str, truth.labels), *map(str, picks.labels)})
    parts = {
        name: _score(picks.select(picks.labels == name), truth.select(truth.labels == name), doubtful, radius)
        for name in names
    }
    return replace(
        _total(list(parts.values()), radius), recall_per_label=_recalls(picks, truth, radius), per_class=parts
    )


def near(picks: Particles, points: Particles, radius: float) -> npt.NDArray[np.bool_]:
    """(n,) whether a pick has any of ``points`` of its tomogram within ``radius`` (A): traps, doubtful particles."""
    close = np.zeros(len(picks), dtype=bool)
    for name in picks.tomograms:
        rows = _rows(picks, name)
        pairs, _ = candidate_pairs(picks.positions_zyx[rows], points.positions_zyx[_rows(points, name)], radius)
        close[rows[pairs[:, 0]]] = True
    return close


def _score(picks: Particles, truth: Particles, doubtful: Particles, radius: float) -> DistanceScore:
    found = np.zeros(len(picks), dtype=bool)
    ranked_hit = np.zeros(len(picks), dtype=bool)
    truth_found = np.zeros(len(truth), dtype=bool)
    distances: list[float] = []
    scores = picks.column("score", 0.0).astype(np.float64)
    for name in dict.fromkeys([*truth.tomograms, *picks.tomograms]):
        rows, true_rows = _rows(picks, name), _rows(truth, name)
        here, true_here = picks.positions_zyx[rows], truth.positions_zyx[true_rows]
        pairs = assign(here, true_here, radius)
        found[rows[pairs[:, 0]]] = True
        truth_found[true_rows[pairs[:, 1]]] = True
        distances += np.linalg.norm(here[pairs[:, 0]] - true_here[pairs[:, 1]], axis=1).tolist()
        ranked_hit[rows] = greedy_hits(here, true_here, scores[rows], radius)
    doubt = near(picks, doubtful, radius)
    ignored, judged = doubt & ~found, ranked_hit | ~doubt
    ranked = "score" in picks.table.columns and len(truth) > 0
    return _ratios(
        radius=radius,
        n_truth=len(truth),
        tp=int(found.sum()),
        fp=int((~found & ~ignored).sum()),
        average=average_precision(ranked_hit[judged], scores[judged], n_relevant=len(truth)) if ranked else None,
        mean_distance=float(np.mean(distances)) if distances else None,
        n_ignored=int(ignored.sum()),
        recall_per_label=_share(truth, truth_found),
    )


def _ratios(
    *,
    radius: float,
    n_truth: int,
    tp: int,
    fp: int,
    average: float | None,
    mean_distance: float | None,
    n_ignored: int,
    recall_per_label: dict[str, float],
) -> DistanceScore:
    fn = n_truth - tp
    return DistanceScore(
        radius=radius,
        n_truth=n_truth,
        n_picks=tp + fp,
        tp=tp,
        fp=fp,
        fn=fn,
        precision=tp / (tp + fp) if tp + fp else 0.0,
        recall=tp / n_truth if n_truth else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        average_precision=average,
        mean_distance=mean_distance,
        n_ignored=n_ignored,
        recall_per_label=recall_per_label,
    )


def _total(parts: Sequence[DistanceScore], radius: float) -> DistanceScore:
    """Sum of counts; average precision is the mean over classes that have a truth (mAP)."""
    averages = [part.average_precision for part in parts if part.average_precision is not None]
    pairs = sum(part.tp for part in parts)
    travelled = sum(part.tp * part.mean_distance for part in parts if part.mean_distance is not None)
    return _ratios(
        radius=radius,
        n_truth=sum(part.n_truth for part in parts),
        tp=pairs,
        fp=sum(part.fp for part in parts),
        average=float(np.mean(averages)) if averages else None,
        mean_distance=travelled / pairs if pairs else None,
        n_ignored=sum(part.n_ignored for part in parts),
        recall_per_label={},
    )


def _recalls(picks: Particles, truth: Particles, radius: float) -> dict[str, float]:
    found = np.zeros(len(truth), dtype=bool)
    for name in truth.tomograms:
        rows = _rows(truth, name)
        pairs = assign(picks.positions_zyx[_rows(picks, name)], truth.positions_zyx[rows], radius)
        found[rows[pairs[:, 1]]] = True
    return _share(truth, found)


def _share(truth: Particles, found: npt.NDArray[np.bool_]) -> dict[str, float]:
    labels = truth.labels.astype(str)
    return {str(name): float(found[labels == name].mean()) for name in np.unique(labels)}


def _rows(particles: Particles, tomogram: str) -> npt.NDArray[np.int64]:
    return np.flatnonzero((particles.table["tomogram"] == tomogram).to_numpy())
