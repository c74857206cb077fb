"""Query by example: score every vector of a store by likeness to a few labelled examples, then rank the particles.

The score of a particle for a class is ``(1 - v) * prototype + v * neighbours``: the cosine to the nearest prototype of
the class and the mean cosine to its nearest examples, both in a `Space` learnt from the whole store. Negatives take
``negative_weight`` times their own positive score away. Scores are cosines in [-1, 1], not probabilities. All rows are
scored: at a million vectors that is one pass of a matrix product, cheaper than asking an index for all of them. With
``expand`` a second pass asks with the prototypes of the examples and the first pass' best hits together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.instances.nms import non_maximum_suppression
from cryoembed.mining.space import Space, SpaceKind, Vectors, fit_space, normalise
from cryoembed.particles import Particles

_BLOCK = 65_536  # rows scored at once


class QueryConfig(Config):
    """How examples become scores."""

    space: SpaceKind = "whitened"
    shrinkage: float = Field(0.9, ge=0, le=1, description="of the whitening; 1 centres only")
    max_prototypes: int = Field(3, ge=1, description="per class")
    examples_per_prototype: int = Field(10, ge=1, description="a class gets one more prototype per so many examples")
    neighbours: int = Field(3, ge=1, description="nearest examples of a class that vote")
    vote_weight: float = Field(0.5, ge=0, le=1, description="share of the neighbours' vote in the score")
    negative_weight: float = Field(0.5, ge=0, le=1)
    expand: int = Field(
        0, ge=0, description="best hits that join each class' examples for a second pass; fewer than it has copies"
    )
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Reference:
    """What a query compares with: per class its prototypes and examples, in one space.

    ``joined`` has, after `expand_reference`, the first-pass scores of the rows that joined each class, best first.
    """

    classes: tuple[str, ...]
    prototypes: tuple[Vectors, ...]  # (p_c, d) per class
    examples: tuple[Vectors, ...]  # (m_c, d) per class
    examples_vote: bool  # else prototypes alone score
    negative_prototypes: Vectors | None
    negatives: Vectors | None
    space: Space
    joined: tuple[npt.NDArray[np.float32], ...] = ()


@dataclass(frozen=True, eq=False)
class Hits:
    """Rows of the store, best first, each with one label and a score; ``skipped`` counts those left out, by reason.

    ``joined`` has the first-pass scores of the rows that joined each class' examples, best first; empty without
    ``expand``.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    skipped: dict[str, int] = field(default_factory=dict)
    joined: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)


def score_by_examples(
    vectors: Vectors | Sequence[Vectors],
    examples: npt.ArrayLike,
    labels: Sequence[str],
    config: QueryConfig | None = None,
    *,
    negatives: npt.ArrayLike | None = None,
    shown: npt.NDArray[np.bool_] | None = None,
) -> Hits:
    """Every row with the label of its best class and the score of that class, best first.

    Parameters
    ----------
    vectors
        (n, d) of the store, L2-normalised, or a sequence of such parts (one per tomogram); rows count through them.
    examples
        (m, d) vectors of the examples.
    labels
        Class of each example.
    negatives
        (k, d) vectors of what is not wanted.
    shown
        (n,) rows at the places of examples or negatives: with ``expand`` they do not join, as they are known already.

    Raises
    ------
    InputError
        If there are no examples, or their dimension is not the store's.
    """
    config = config or QueryConfig()
    parts = [vectors] if isinstance(vectors, np.ndarray) else list(vectors)
    space = fit_space(parts, kind=config.space, shrinkage=config.shrinkage)
    reference = build_reference(examples, labels, space, config, negatives=negatives)
    if config.expand:
        reference = expand_reference(reference, parts, config, shown=shown)
    scored = [score_vectors(part, reference, config) for part in parts if len(part)]
    classes = np.concatenate([found for found, _ in scored]) if scored else np.zeros(0, dtype=np.int64)
    scores = np.concatenate([score for _, score in scored]) if scored else np.zeros(0, dtype=np.float32)
    order = np.argsort(-scores, kind="stable")
    names = np.array(reference.classes, dtype=object)
    joined = {name: found.tolist() for name, found in zip(reference.classes, reference.joined, strict=False)}
    return Hits(order.astype(np.int64), names[classes[order]], scores[order], joined=joined)


def build_reference(
    examples: npt.ArrayLike,
    labels: Sequence[str],
    space: Space,
    config: QueryConfig,
    *,
    negatives: npt.ArrayLike | None = None,
) -> Reference:
    """Prototypes and examples per class, classes in order of appearance; see `score_by_examples`."""
    array = np.atleast_2d(np.asarray(examples, dtype=np.float32))
    if array.size == 0 or len(labels) == 0:
        raise InputError("no examples: a query needs at least one pick of what you look for")
    if len(labels) != len(array):
        raise InputError(f"{len(array)} example vectors but {len(labels)} labels")
    if space.kind != "raw" and array.shape[1] != len(space.mean):
        raise InputError(f"examples have {array.shape[1]} dimensions, the store's vectors {len(space.mean)}")
    moved, names = space.apply(array), np.asarray(labels, dtype=object)
    classes = tuple(dict.fromkeys(str(label) for label in labels))
    by_class = tuple(moved[names == name] for name in classes)
    unwanted = (
        None if negatives is None or np.size(negatives) == 0 else space.apply(np.atleast_2d(np.asarray(negatives)))
    )
    return Reference(
        classes=classes,
        prototypes=tuple(prototypes(members, config) for members in by_class),
        examples=by_class,
        examples_vote=True,
        negative_prototypes=None if unwanted is None else prototypes(unwanted, config),
        negatives=unwanted,
        space=space,
    )


def expand_reference(
    reference: Reference,
    parts: Sequence[Vectors],
    config: QueryConfig,
    *,
    shown: npt.NDArray[np.bool_] | None = None,
) -> Reference:
    """Prototypes of the examples and of the ``config.expand`` best hits of each class (average query expansion).

    A row joins the class that it is likest to, once, and only with a score above 0: likelier than a random row. Examples
    do not vote afterwards: few as they are, their vote would pull the ranking back to them.

    Parameters
    ----------
    reference
        From `build_reference`.
    parts
        (n_i, d) vectors to draw hits from.
    shown
        (n,) rows, counted through the parts, that do not join.

    Notes
    -----
    Chum et al. 2007, "Total recall", average query expansion. It helps a class that has more copies than join, and
    drowns a rarer one in others.
    """
    best: list[list[tuple[float, Vectors]]] = [[] for _ in reference.classes]
    start = 0
    for part in parts:
        classes, scores = score_vectors(part, reference, config)
        free = scores > 0
        if shown is not None:
            free &= ~shown[start : start + len(part)]
        start += len(part)
        for index, found in enumerate(best):
            rows = np.flatnonzero(free & (classes == index))
            rows = rows[np.argsort(-scores[rows], kind="stable")[: config.expand]]
            found += list(zip(scores[rows].tolist(), reference.space.apply(part[rows]), strict=True))
    chosen = [sorted(found, key=lambda hit: -hit[0])[: config.expand] for found in best]
    wider = [
        prototypes(np.stack([*examples, *(vector for _, vector in hits)]), config, asked=len(examples))
        for examples, hits in zip(reference.examples, chosen, strict=True)
    ]
    joined = tuple(np.array([score for score, _ in hits], dtype=np.float32) for hits in chosen)
    return replace(reference, prototypes=tuple(wider), examples_vote=False, joined=joined)


def prototypes(members: Vectors, config: QueryConfig, *, asked: int | None = None) -> Vectors:
    """(p, d): the normalised mean of a class, or the centres of k-means on the sphere where it has many examples.

    ``asked`` is how many of the members are examples; None is all.
    """
    asked = len(members) if asked is None else asked
    count = min(config.max_prototypes, max(1, asked // config.examples_per_prototype))
    if count > 1:
        count = min(count, len(np.unique(members, axis=0)))
    if count == 1:
        return normalise(members.mean(axis=0, keepdims=True))
    from sklearn.cluster import KMeans

    return normalise(KMeans(count, n_init=10, random_state=config.seed).fit(members).cluster_centers_)


def score_vectors(
    vectors: Vectors, reference: Reference, config: QueryConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Index (n,) and score (n,) in [-1, 1] of the best class of (n, d) vectors; ties go to the class named first."""
    classes = np.zeros(len(vectors), dtype=np.int64)
    scores = np.zeros(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, start + _BLOCK)
        likeness = class_scores(vectors[block], reference, config)
        classes[block] = likeness.argmax(axis=1)
        scores[block] = np.clip(likeness.max(axis=1), -1, 1)
    return classes, scores


def class_scores(vectors: Vectors, reference: Reference, config: QueryConfig) -> npt.NDArray[np.float32]:
    """(n, c) likeness of (n, d) vectors to every class, that to the negatives taken away."""
    moved = reference.space.apply(vectors)
    vote = config.vote_weight if reference.examples_vote else 0.0
    pairs = zip(reference.prototypes, reference.examples, strict=True)
    likeness = np.stack([_likeness(moved, centres, members, config, vote) for centres, members in pairs], axis=1)
    if reference.negatives is not None and reference.negative_prototypes is not None:
        unwanted = _likeness(moved, reference.negative_prototypes, reference.negatives, config, config.vote_weight)
        likeness -= config.negative_weight * np.maximum(unwanted, 0)[:, None]
    return likeness


def rank_hits(
    hits: Hits,
    particles: Particles,
    *,
    radius: float,
    top: int | None = None,
    min_score: float | None = None,
    leave_out: npt.NDArray[np.bool_] | None = None,
) -> Hits:
    """Thin out scored rows: threshold, rows left out, one hit per place (across classes), best ``top`` of each class.

    Parameters
    ----------
    hits
        From `score_by_examples`, best first.
    particles
        The store's particles, row by row.
    radius
        A: of two hits of one tomogram nearer than this the better stays, whatever their classes.
    top
        At most so many hits of each class.
    min_score
        Lowest score kept.
    leave_out
        (n,) rows that must not be hits, for example the examples themselves.
    """
    keep = np.ones(len(hits), dtype=bool)
    skipped: dict[str, int] = {}

    def drop(where: npt.NDArray[np.bool_], reason: str) -> None:
        if count := int((keep & where).sum()):
            skipped[reason] = count
        keep[where] = False

    if leave_out is not None:
        drop(leave_out[hits.rows], "that are examples")
    if min_score is not None:
        drop(hits.scores < min_score, f"below --min-score {min_score:g}")
    kept = np.flatnonzero(keep)
    survivors = kept[_one_per_place(hits, particles, kept, radius)]
    drop(~np.isin(np.arange(len(hits)), survivors), f"within {radius:.0f} A of a better hit")
    if top is not None:
        drop(_rank_in_class(hits.labels, keep) >= top, f"beyond the best {top}")
    return Hits(hits.rows[keep], hits.labels[keep], hits.scores[keep], skipped, hits.joined)


def near(positions_zyx: npt.ArrayLike, others_zyx: npt.ArrayLike, radius: float) -> npt.NDArray[np.bool_]:
    """(n,) whether a position lies within ``radius`` (same unit) of any other."""
    from scipy.spatial import cKDTree

    positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
    others = np.asarray(others_zyx, dtype=np.float64).reshape(-1, 3)
    if len(positions) == 0 or len(others) == 0:
        return np.zeros(len(positions), dtype=bool)
    distances, _ = cKDTree(others).query(positions)
    return np.asarray(distances <= radius)


def _likeness(
    moved: Vectors, centres: Vectors, members: Vectors, config: QueryConfig, vote: float
) -> npt.NDArray[np.float32]:
    nearest_prototype = (moved @ centres.T).max(axis=1)
    if vote == 0:
        return np.asarray(nearest_prototype, dtype=np.float32)
    to_members = moved @ members.T
    k = min(config.neighbours, len(members))
    votes = np.partition(to_members, -k, axis=1)[:, -k:].mean(axis=1)
    return np.asarray((1 - vote) * nearest_prototype + vote * votes, dtype=np.float32)


def _one_per_place(
    hits: Hits, particles: Particles, kept: npt.NDArray[np.int64], radius: float
) -> npt.NDArray[np.int64]:
    """Indices into ``kept`` of the survivors, tomogram by tomogram."""
    rows = hits.rows[kept]
    positions, names = particles.positions_zyx[rows], particles.table["tomogram"].to_numpy()[rows]
    survivors: list[npt.NDArray[np.int64]] = []
    for name in dict.fromkeys(names):
        members = np.flatnonzero(names == name)
        best = non_maximum_suppression(positions[members], hits.scores[kept][members], radius)
        survivors.append(members[np.asarray(best, dtype=np.int64)])
    return np.sort(np.concatenate(survivors)) if survivors else np.zeros(0, dtype=np.int64)


def _rank_in_class(labels: npt.NDArray[Any], keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    ranks = np.zeros(len(labels), dtype=np.int64)
    for name in dict.fromkeys(labels):
        members = np.flatnonzero((labels == name) & keep)
        ranks[members] = np.arange(len(members))
    return ranks
