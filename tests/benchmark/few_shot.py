"""The protocol of query by example on boxes of known class: examples drawn at random, F1 and AP of all other boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.evaluate.classification import score_classes
from cryoembed.mining.query import QueryConfig, build_reference, class_scores, expand_reference
from cryoembed.mining.space import fit_space

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.str_]
MASS_GROUPS_KDA = {"< 200": (0.0, 200.0), "200-600": (200.0, 600.0), "> 600": (600.0, np.inf)}
BACKGROUND = "background"


@dataclass(frozen=True)
class FewShotScore:
    """Per species (background left out), means over the draws of examples."""

    f1: dict[str, float]
    ap: dict[str, float]

    @property
    def mean_f1(self) -> float:
        """Macro F1."""
        return float(np.mean(list(self.f1.values())))

    @property
    def mean_ap(self) -> float:
        """Mean average precision."""
        return float(np.mean(list(self.ap.values())))

    def by_mass(self, mass_kda: dict[str, float]) -> dict[str, tuple[float, float]]:
        """Mean F1 and AP of each mass group that has species."""
        groups = {}
        for group, (low, high) in MASS_GROUPS_KDA.items():
            names = [name for name in self.f1 if low <= mass_kda[name] < high]
            if names:
                groups[group] = tuple(float(np.mean([of[name] for name in names])) for of in (self.f1, self.ap))
        return groups


def few_shot(
    vectors: Vectors, labels: Labels, *, examples: int, draws: int, seed: int, expand: int = 0
) -> FewShotScore:
    """Score `query`'s own ranking, in the space learnt from all the boxes without their labels.

    Parameters
    ----------
    vectors, labels
        (n, d) and (n,); one of the labels may be `BACKGROUND`: it is a class with examples of its own, so that a box
        may be called nothing.
    examples
        Of each class, drawn at random ``draws`` times and never scored. F1 by the best class of each other box, AP by
        the likeness to each class alone.
    expand
        `query`'s own: so many of the scored boxes, without their labels, join each class.
    """
    generator = np.random.default_rng([seed, examples])
    config = QueryConfig(expand=expand)
    space = fit_space([vectors])
    classes = list(np.unique(labels))
    found = []
    for _ in range(draws):
        chosen = {name: generator.choice(np.flatnonzero(labels == name), examples, replace=False) for name in classes}
        rest = np.ones(len(labels), dtype=bool)
        rest[np.concatenate(list(chosen.values()))] = False
        examples_of = np.concatenate([vectors[rows] for rows in chosen.values()])
        reference = build_reference(examples_of, np.repeat(classes, examples).tolist(), space, config)
        if expand:
            reference = expand_reference(reference, [vectors[rest]], config)
        scores = class_scores(vectors[rest], reference, config)
        called = np.array(classes)[scores.argmax(axis=1)]
        found.append(score_classes(called, labels[rest], scores=scores, classes=classes).per_class)
    species = [name for name in classes if name != BACKGROUND]
    return FewShotScore(
        {name: float(np.mean([draw[name].f1 for draw in found])) for name in species},
        {name: float(np.mean([draw[name].average_precision for draw in found])) for name in species},
    )
