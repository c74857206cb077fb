"""How well a ranking puts the relevant first: average precision without interpolation, and its mean over queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RetrievalScore:
    """Mean average precision: over all queries, and per class of the query."""

    mean_average_precision: float
    per_class: dict[str, float]
    n_queries: int
    n_skipped: int  # queries whose class nothing else in the gallery shares


def average_precision(relevant: npt.ArrayLike, scores: npt.ArrayLike, *, n_relevant: int | None = None) -> float:
    """Area under the precision-recall steps, ``sum (R_k - R_(k-1)) P_k``, without interpolation.

    Items of equal score enter together, so that the order of ties cannot change the result.

    Parameters
    ----------
    relevant
        (n,) booleans.
    scores
        (n,) numbers, higher is better.
    n_relevant
        How many relevant items exist, when some may be missing from the ranking; default: those in ``relevant``.

    Returns
    -------
    A number in [0, 1]; 0.0 where nothing relevant exists.
    """
    relevant = np.asarray(relevant, dtype=bool).reshape(-1)
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    total = int(relevant.sum()) if n_relevant is None else n_relevant
    if total <= 0 or not len(relevant):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    last_of_tie = np.r_[np.diff(scores[order]) != 0, True]
    found, ranked = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    gained = np.diff(np.r_[0, found])
    return float(np.sum(gained * found / ranked) / total)


def mean_average_precision(
    similarities: npt.ArrayLike,
    query_labels: Sequence[str] | npt.NDArray[np.object_],
    gallery_labels: Sequence[str] | npt.NDArray[np.object_],
    *,
    query_rows: npt.ArrayLike | None = None,
) -> RetrievalScore:
    """Mean over queries of the average precision with which the gallery's same-label items come first.

    Parameters
    ----------
    similarities
        (q, n) numbers, higher is nearer.
    query_labels, gallery_labels
        (q,) and (n,) label strings.
    query_rows
        (q,) the query's own row in the gallery, which is left out of its ranking (-1: it is not in there).
    """
    similarities = np.asarray(similarities, dtype=np.float64)
    queries, gallery = np.asarray(query_labels, dtype=object), np.asarray(gallery_labels, dtype=object)
    own = np.full(len(queries), -1) if query_rows is None else np.asarray(query_rows, dtype=np.int64)
    values: dict[str, list[float]] = {}
    skipped = 0
    for row, label in enumerate(queries):
        others = np.arange(len(gallery)) != own[row]
        relevant = gallery[others] == label
        if not relevant.any():
            skipped += 1
            continue
        values.setdefault(str(label), []).append(average_precision(relevant, similarities[row, others]))
    every = [value for found in values.values() for value in found]
    return RetrievalScore(
        mean_average_precision=float(np.mean(every)) if every else 0.0,
        per_class={label: float(np.mean(found)) for label, found in sorted(values.items())},
        n_queries=len(every),
        n_skipped=skipped,
    )
