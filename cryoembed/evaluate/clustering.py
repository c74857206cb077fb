"""How well clusters agree with known classes: NMI, ARI, purity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError


@dataclass(frozen=True)
class ClusteringScore:
    """Agreement of clusters with classes over ``n`` items of known class; ``n_unknown`` had none and were left out."""

    n: int
    n_unknown: int
    n_classes: int
    n_clusters: int
    nmi: float
    ari: float
    purity: float


def score_clusters(
    clusters: Sequence[Any] | npt.NDArray[Any], classes: Sequence[str] | npt.NDArray[Any], *, unknown: str = ""
) -> ClusteringScore:
    """Compare cluster numbers with class labels.

    NMI is normalised by the arithmetic mean of the entropies; purity is the share of items whose cluster's commonest
    class is theirs (it rises with the number of clusters: read it beside the others). A noise cluster (-1) counts as a
    cluster like any other, so that calling everything noise gains nothing.

    Parameters
    ----------
    clusters
        (n,) cluster numbers or names.
    classes
        (n,) class labels; items labelled ``unknown`` are left out.

    Raises
    ------
    InputError
        If the lengths differ or no item has a known class.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    found, labels = np.asarray(clusters), np.asarray(classes, dtype=str)
    if len(found) != len(labels):
        raise InputError(f"{len(found)} cluster numbers for {len(labels)} classes; they must be aligned")
    known = labels != unknown
    if not known.any():
        raise InputError("no item has a known class; clusters cannot be compared with the truth")
    found, labels = found[known], labels[known]
    class_names, class_rows = np.unique(labels, return_inverse=True)
    cluster_names, cluster_rows = np.unique(found, return_inverse=True)
    table = np.zeros((len(cluster_names), len(class_names)), dtype=np.int64)
    np.add.at(table, (cluster_rows, class_rows), 1)
    return ClusteringScore(
        n=len(labels),
        n_unknown=int((~known).sum()),
        n_classes=len(class_names),
        n_clusters=len(cluster_names),
        nmi=float(normalized_mutual_info_score(class_rows, cluster_rows)),
        ari=float(adjusted_rand_score(class_rows, cluster_rows)),
        purity=float(table.max(axis=1).sum() / len(labels)),
    )
