"""How well particles are named: precision, recall and F1 of each class, their mean, and one-against-rest AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.evaluate.retrieval import average_precision


@dataclass(frozen=True)
class ClassScore:
    """One class: ``n`` items are of it; 0 where a ratio has nothing to divide by."""

    n: int
    precision: float
    recall: float
    f1: float
    average_precision: float | None  # one against rest; None without scores


@dataclass(frozen=True)
class ClassificationScore:
    """All classes that the truth holds, and their unweighted means: rare classes count as much as common ones."""

    n: int
    accuracy: float
    macro_f1: float
    mean_average_precision: float | None
    per_class: dict[str, ClassScore]


def score_classes(
    predicted: Sequence[str] | npt.NDArray[Any],
    truth: Sequence[str] | npt.NDArray[Any],
    *,
    scores: npt.ArrayLike | None = None,
    classes: Sequence[str] = (),
) -> ClassificationScore:
    """Compare predicted with true labels.

    Parameters
    ----------
    predicted, truth
        (n,) label strings. A class that is only predicted has no row of its own: it costs its items' true classes
        recall.
    scores
        (n, c) of each class, higher is surer; gives average precisions.
    classes
        (c,) what the columns of ``scores`` are. A true class without a column has average precision 0.

    Raises
    ------
    InputError
        If there is nothing to score, or lengths differ.
    """
    names, found = np.asarray(truth, dtype=object), np.asarray(predicted, dtype=object)
    if not len(names) or len(names) != len(found):
        raise InputError(f"{len(found)} predicted and {len(names)} true labels; expected as many of each, at least one")
    table = None if scores is None else np.asarray(scores, dtype=np.float64)
    if table is not None and table.shape != (len(names), len(classes)):
        raise InputError(f"scores of shape {table.shape} for {len(names)} items and {len(classes)} classes")
    column = {str(name): number for number, name in enumerate(classes)}
    rows = {}
    for name in sorted(set(map(str, names))):
        true, said = names == name, found == name
        both = int((true & said).sum())
        ranked = None if table is None else (table[:, column[name]] if name in column else np.zeros(len(names)))
        rows[name] = ClassScore(
            n=int(true.sum()),
            precision=both / said.sum() if said.any() else 0.0,
            recall=both / int(true.sum()),
            f1=2 * both / int(true.sum() + said.sum()),
            average_precision=None if ranked is None else average_precision(true & (name in column), ranked),
        )
    each = [row.average_precision for row in rows.values() if row.average_precision is not None]
    return ClassificationScore(
        n=len(names),
        accuracy=float((names == found).mean()),
        macro_f1=float(np.mean([row.f1 for row in rows.values()])),
        mean_average_precision=float(np.mean(each)) if each else None,
        per_class=rows,
    )
