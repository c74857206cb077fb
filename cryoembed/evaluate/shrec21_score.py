"""What SHREC 2021 reports of a result: counts, their ratios, classes, size groups (Gubins et al., tables 3 to 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SIZE_GROUPS: dict[str, tuple[str, ...]] = {  # table 5, by molecular weight
    "small": ("1s3x", "3qm1", "3gl1", "3h84", "2cg9"),
    "medium": ("3d2f", "1u6g", "3cf3", "1bxn", "1qvr"),
    "large": ("4cr2", "5mrc"),
}


@dataclass(frozen=True)
class ClassScore:
    """Classification of true particles of one class by their first hit; hits on background do not enter."""

    tp: int
    fp: int
    fn: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if nothing of the class was found or claimed."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


@dataclass(frozen=True)
class Shrec21Score:
    """Localisation (the columns of table 3) and classification (table 4).

    ``rr`` results reported; ``tp`` particles hit at least once; ``fp`` results on background; ``fn`` never hit;
    ``mh`` particles hit more than once; ``ad`` mean distance in voxels of first hits to centres (None without hits);
    ``n_truth`` the denominator of recall; ``n_outside`` results outside the volume; ``n_left_out`` results on objects
    that are not scored: these stay in ``rr``, as published.
    """

    rr: int
    tp: int
    fp: int
    fn: int
    mh: int
    n_truth: int
    ad: float | None = None
    n_outside: int = 0
    n_left_out: int = 0
    per_class: dict[str, ClassScore] = field(default_factory=dict)

    @property
    def recall(self) -> float:
        """``tp / n_truth``."""
        return self.tp / self.n_truth if self.n_truth else 0.0

    @property
    def precision(self) -> float:
        """``tp / rr``: a second hit on a particle costs precision."""
        return self.tp / self.rr if self.rr else 0.0

    @property
    def miss_rate(self) -> float:
        """``1 - recall``."""
        return 1 - self.recall

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def macro_f1(self) -> float:
        """Mean of the per-class F1 scores."""
        return float(np.mean([score.f1 for score in self.per_class.values()])) if self.per_class else 0.0

    @property
    def group_f1(self) -> dict[str, float]:
        """Mean F1 per size group of table 5 (as in table 6), over the classes that are present."""
        found = {
            group: [score.f1 for name, score in self.per_class.items() if name.lower() in members]
            for group, members in SIZE_GROUPS.items()
        }
        return {group: float(np.mean(values)) for group, values in found.items() if values}


def combine(scores: Sequence[Shrec21Score]) -> Shrec21Score:
    """Sum the counts of several tomograms; ``ad`` is the mean over all particles found."""
    per_class: dict[str, ClassScore] = {}
    for score in scores:
        for name, part in score.per_class.items():
            known = per_class.get(name, ClassScore(0, 0, 0))
            per_class[name] = ClassScore(known.tp + part.tp, known.fp + part.fp, known.fn + part.fn)
    found = sum(score.tp for score in scores)
    travelled = sum(score.tp * score.ad for score in scores if score.ad is not None)
    return Shrec21Score(
        rr=sum(score.rr for score in scores),
        tp=found,
        fp=sum(score.fp for score in scores),
        fn=sum(score.fn for score in scores),
        mh=sum(score.mh for score in scores),
        n_truth=sum(score.n_truth for score in scores),
        ad=travelled / found if found else None,
        n_outside=sum(score.n_outside for score in scores),
        n_left_out=sum(score.n_left_out for score in scores),
        per_class=dict(sorted(per_class.items())),
    )
