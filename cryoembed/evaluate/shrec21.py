"""The `shrec21` rule: what the occupancy mask says at the pick's voxel (SHREC 2021, Gubins et al., sections 2.2 and 4).

A pick is judged by the true shape, not by a distance: it hits the particle whose id the occupancy mask holds at the
rounded position. The published program has three more habits, each a setting of `Shrec21Config`, all in `AS_EXECUTED`:
it dilates the mask by one voxel, clamps picks outside the volume to its border, and keeps vesicles in the denominator
of recall although they cannot be found (published: 1571 particles, 1565 of them findable).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed import geometry
from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.evaluate.shrec21_score import SIZE_GROUPS, ClassScore, Shrec21Score, combine
from cryoembed.particles import EXTENDED, Particles
from cryoembed.tomogram import Tomogram

__all__ = ["AS_EXECUTED", "SIZE_GROUPS", "ClassScore", "Shrec21Config", "Shrec21Score", "combine", "score_shrec21"]


class Shrec21Config(Config):
    """Settings of the rule; the defaults are the rule as the paper words it, without its program's quirks."""

    left_out: tuple[str, ...] = Field(
        ("4v94", *sorted(EXTENDED)),
        description="classes not scored: 4v94 by the paper's erratum; vesicles, membranes and filaments are no particles",
    )
    grace_voxels: int = Field(0, ge=0, le=3, description="grey dilations of the occupancy mask; the program: 1")
    clamp_outside: bool = Field(
        False, description="picks outside move to the border (the program), else false positives"
    )
    vesicles_in_recall: bool = Field(False, description="count vesicles as particles to be found (the program)")


AS_EXECUTED = Shrec21Config(grace_voxels=1, clamp_outside=True, vesicles_in_recall=True)


def score_shrec21(
    picks: Particles, truth: Particles, occupancy: Tomogram, *, config: Shrec21Config | None = None
) -> Shrec21Score:
    """Score the picks of one tomogram against its occupancy mask.

    Parameters
    ----------
    picks
        Positions in A in the parent frame, labels the class names (case does not matter). Row order is file order: the
        first hit on a particle gives its class and distance, so sort by score if the best should speak.
    truth
        All placed objects, vesicles and fiducials too; a row's occupancy id is its ``instance``, or its 1-based number.
    occupancy
        Integer ids, 0 = nothing; run `check_truth` before.
    config
        The rule's settings.

    Returns
    -------
    Counts and per-class scores. Distances use positions as given; for the integer voxels of a SHREC submission they are
    the published ones.

    Raises
    ------
    InputError
        If not one of the picks lies inside the volume: another frame.
    """
    config = config or Shrec21Config()
    voxels = geometry.nearest_voxel(occupancy.to_voxel(picks.positions_zyx).reshape(-1, 3))
    shape = np.asarray(occupancy.shape)
    inside = np.all((voxels >= 0) & (voxels < shape), axis=1)
    if len(picks) and not inside.any():
        low, high = voxels.min(axis=0).tolist(), voxels.max(axis=0).tolist()
        raise InputError(
            f"{occupancy.name}: all {len(picks)} picks lie outside the truth's volume {occupancy.shape} (z, y, x): "
            f"voxels {low} to {high}; picks and truth are not in one frame (voxel size {occupancy.voxel_size} A, "
            f"origin {occupancy.origin} A)"
        )
    ids = truth_ids(truth)
    row_of = {int(number): row for row, number in enumerate(ids)}
    names = np.array([_class_name(label) for label in truth.labels], dtype=object)
    left_out = {_class_name(name) for name in config.left_out}
    scored = np.array([name not in left_out for name in names], dtype=bool)

    hits = _ids_at(occupancy.data, np.clip(voxels, 0, shape - 1), config.grace_voxels)
    if not config.clamp_outside:
        hits = np.where(inside, hits, 0)
    rows = np.array([row_of.get(int(number), -1) for number in hits], dtype=np.int64)
    counted = np.bincount(rows[rows >= 0], minlength=len(truth))
    hit = (counted > 0) & scored
    first = _first_hits(rows, len(truth))
    distances = (
        np.linalg.norm(picks.positions_zyx[first[hit]] - truth.positions_zyx[hit], axis=1) / occupancy.voxel_size
    )
    said = np.array([_class_name(label) for label in picks.labels], dtype=object)
    claimed = [said[first[row]] if hit[row] else "" for row in range(len(truth))]
    vesicles = int((names == "vesicle").sum()) if config.vesicles_in_recall and "vesicle" in left_out else 0
    return Shrec21Score(
        rr=len(picks),
        tp=int(hit.sum()),
        fp=int((rows < 0).sum()),
        fn=int((scored & ~hit).sum()),
        mh=int(((counted > 1) & scored).sum()),
        n_truth=int(scored.sum()) + vesicles,
        ad=float(distances.mean()) if len(distances) else None,
        n_outside=int((~inside).sum()),
        n_left_out=int(((rows >= 0) & ~scored[rows]).sum()) if len(truth) else 0,
        per_class=_classify(names[scored], np.array(claimed, dtype=object)[scored]),
    )


def truth_ids(truth: Particles) -> npt.NDArray[np.int64]:
    """(n,) occupancy id of every row: its ``instance`` where the table has one, else its 1-based number."""
    if "instance" in truth.table.columns:
        return truth.column("instance", 0).astype(np.int64)
    return np.arange(1, len(truth) + 1, dtype=np.int64)


def _ids_at(occupancy: npt.NDArray[Any], voxels: npt.NDArray[np.int64], grace: int) -> npt.NDArray[np.int64]:
    """(n,) ids at voxels; with ``grace``, the largest id within so many face-to-face steps (grey dilation)."""
    best = np.asarray(occupancy[tuple(voxels.T)], dtype=np.int64)
    if grace == 0:
        return best
    steps = np.arange(-grace, grace + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    upper = np.asarray(occupancy.shape) - 1
    for offset in offsets[np.abs(offsets).sum(axis=1) <= grace]:
        moved = voxels + offset
        valid = np.all((moved >= 0) & (moved <= upper), axis=1)
        values = np.asarray(occupancy[tuple(np.clip(moved, 0, upper).T)], dtype=np.int64)
        best = np.maximum(best, np.where(valid, values, 0))
    return best


def _first_hits(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """(count,) the first pick, in file order, on each true row; -1 where there is none."""
    first = np.full(count, -1, dtype=np.int64)
    for pick in range(len(rows) - 1, -1, -1):
        if rows[pick] >= 0:
            first[rows[pick]] = pick
    return first


def _classify(truth: npt.NDArray[Any], claimed: npt.NDArray[Any]) -> dict[str, ClassScore]:
    return {
        str(name): ClassScore(
            tp=int(((truth == name) & (claimed == name)).sum()),
            fp=int(((truth != name) & (claimed == name)).sum()),
            fn=int(((truth == name) & (claimed != name)).sum()),
        )
        for name in sorted(set(truth.tolist()))
    }


def _class_name(label: Any) -> str:
    return str(label).strip().lower()
