"""Score picks against truth by a named rule: ``distance`` (one-to-one in a radius) or ``shrec21`` (occupancy mask)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.evaluate.distance import DistanceScore, near, score_distance
from cryoembed.evaluate.shrec21 import Shrec21Config, Shrec21Score, combine, score_shrec21
from cryoembed.evaluate.table import as_text, distance_rows, recall_rows, shrec21_class_rows, shrec21_rows
from cryoembed.evaluate.truth import check_truth
from cryoembed.io.atomic import replacing
from cryoembed.io.formats import read_particles
from cryoembed.io.shrec import read_model
from cryoembed.particles import EXTENDED, Particles
from cryoembed.recipes.truth import model_folders, read_truth, truth_infos

Rule = Literal["distance", "shrec21"]
Bounds = tuple[float | None, float | None]
SCHEMA = 1


class EvaluateConfig(Config):
    """Settings of ``cryoembed evaluate``."""

    picks: Path
    truth: Path = Field(description="picks in any readable format, a SHREC model_N folder, or a folder of them")
    rule: Rule = "distance"
    radius: float = Field(100.0, gt=0, description="A; about half of a particle's diameter (distance rule)")
    per_class: bool = Field(False, description="a pick must name the right class as well (distance rule)")
    labels: tuple[str, ...] = Field(
        (), description="only these truth labels are to be found; empty: all (distance rule)"
    )
    min_mass_kda: float | None = Field(None, description="lighter true particles are ignored; needs column mass_kda")
    tomograms: tuple[str, ...] = Field((), description="score only these; empty: all that have a truth")
    label_column: str = Field("label", description="the truth table's column that holds the labels")
    ignore_labels: tuple[str, ...] = Field(
        ("ambiguous", *sorted(EXTENDED)), description="picks near their positions count neither way (distance rule)"
    )
    trap_labels: tuple[str, ...] = Field(
        ("gold", "outside"), description="no particles: picks on them are counted apart"
    )
    region: dict[Literal["z", "y", "x"], Bounds] = Field({}, description="A; only inside these bounds, y: [0, 3600]")
    shrec21: Shrec21Config = Shrec21Config()
    tomograms_star: Path | None = Field(None, description="RELION's tomograms.star, for picks from a tomogram's centre")
    store: Path | None = Field(None, description="an embedding store: it knows the frames of its tomograms")
    voxel_size: float | None = Field(None, gt=0, description="A per voxel of picks or truth given in voxels")
    tomogram: str | None = Field(None, description="name for picks or truth that name no tomogram")
    out: Path | None = Field(None, description="JSON with all figures")


def evaluate(config: EvaluateConfig) -> str:
    """Score picks and return the tables with a closing line; write the JSON where ``out`` is given.

    Raises
    ------
    InputError
        If picks or truth are missing, empty or of different tomograms, the truth contradicts itself, or the shrec21
        rule is asked for a truth that is no SHREC folder.
    """
    if not config.picks.is_file():
        raise InputError(f"{config.picks} does not exist or is no file; give picks such as hits.star or picks.csv")
    infos = truth_infos(config.truth, config.tomograms_star, config.store)
    picks = read_particles(config.picks, voxel_size=config.voxel_size, tomogram=config.tomogram, tomograms=infos)
    if not len(picks):
        raise InputError(f"{config.picks} holds no picks; there is nothing to score")
    if config.rule == "shrec21":
        tables, score, judged, skipped = _shrec21(picks, config)
    else:
        tables, score, judged, skipped = _distance(picks, config)
    _write(config, score, skipped)
    closing = f"scored {judged} of {len(picks)} picks by {config.rule}"
    if skipped:
        closing += f", skipped {sum(skipped.values())} ({', '.join(f'{n} {why}' for why, n in skipped.items())})"
    return "\n\n".join([*tables, closing + (f"; all figures in {config.out}" if config.out else "")])


def _distance(picks: Particles, config: EvaluateConfig) -> tuple[list[str], dict[str, Any], int, dict[str, int]]:
    everything = read_truth(
        config.truth, label_column=config.label_column, voxel_size=config.voxel_size, tomogram=config.tomogram
    )
    if config.tomograms:
        everything = everything.select(np.isin(everything.column("tomogram", "").astype(str), config.tomograms))
    here, skipped = _in_truth(picks, set(everything.tomograms))
    inside = _inside(here, config)
    if not inside.all():
        skipped["outside the region"] = int((~inside).sum())
        here = here.select(inside)
    within = _inside(everything, config)
    kind = everything.labels.astype(str)
    wanted = np.isin(kind, config.labels) if config.labels else np.ones(len(everything), dtype=bool)
    trap = np.isin(kind, config.trap_labels)
    doubtful = np.isin(kind, config.ignore_labels) | (_light(everything, config) & ~trap)
    truth = everything.select(within & wanted & ~trap & ~doubtful)
    if not len(truth):
        found = ", ".join(sorted({name or "(none)" for name in kind}))
        raise InputError(f"{config.truth} holds no particle to be found here; its labels are: {found}")
    # beyond the region's edge lie true particles too: a pick on one of them is no error of the region
    ignore = everything.select(doubtful | (~within & ~trap))
    score = score_distance(here, truth, radius=config.radius, per_class=config.per_class, ignore=ignore)
    traps = _on_traps(here, truth, everything.select(trap), config.radius)
    tables = [
        f"one-to-one within {config.radius:g} A, {'classes must agree' if config.per_class else 'classes ignored'}"
    ]
    tables.append(as_text(distance_rows(score)))
    if len(score.recall_per_label) > 1:
        tables.append("found, by true label (whatever the pick's label)\n" + as_text(recall_rows(score)))
    if traps:
        share = ", ".join(f"{name} {count} ({count / max(len(here), 1):.1%})" for name, count in traps.items())
        tables.append(f"picks on what is no particle: {share}")
    tables += _unpicked(here, truth.tomograms)
    if score.n_ignored:
        tables.append(f"{score.n_ignored} picks on doubtful particles count neither way")
    return tables, _distance_json(score) | {"traps": traps}, len(here), skipped


def _shrec21(picks: Particles, config: EvaluateConfig) -> tuple[list[str], dict[str, Any], int, dict[str, int]]:
    folders = model_folders(config.truth)
    if not folders:
        raise InputError(
            f"{config.truth} is no SHREC folder (model_N with occupancy_mask.mrc and particle_locations.txt), which "
            "the shrec21 rule needs; use --rule distance for a list of positions"
        )
    folders = [folder for folder in folders if not config.tomograms or folder.name in config.tomograms]
    here, skipped = _in_truth(picks, {folder.name for folder in folders})
    scores: dict[str, Shrec21Score] = {}
    present: set[str] = set()
    for folder in folders:
        model = read_model(folder, voxel_size=config.voxel_size)
        check_truth(model.particles, model.occupancy_mask, model.class_mask, model.reconstruction)
        present |= {str(label).lower() for label in model.particles.labels}
        scores[folder.name] = score_shrec21(
            here.of(folder.name), model.particles, model.occupancy_mask, config=config.shrec21
        )
    total = combine(list(scores.values()))
    left_out = ", ".join(name for name in config.shrec21.left_out if name.lower() in present) or "nothing"
    tables = [
        f"SHREC 2021 rule on {len(scores)} tomogram(s), left out: {left_out}",
        as_text(shrec21_rows(total)),
        "classification of the particles found\n" + as_text(shrec21_class_rows(total)),
    ]
    tables += _unpicked(here, list(scores))
    figures = _shrec21_json(total) | {"tomograms": {name: _shrec21_json(part) for name, part in scores.items()}}
    return tables, figures, len(here), skipped


def _in_truth(picks: Particles, names: set[str]) -> tuple[Particles, dict[str, int]]:
    """The picks of tomograms that have a truth, and how many were not; none at all is a mistake in the names."""
    known = np.isin(picks.column("tomogram", "").astype(str), sorted(names))
    if not known.any():
        raise InputError(
            f"picks and truth share no tomogram: picks are of {_some(picks.tomograms)}, the truth is of "
            f"{_some(sorted(names))}; rename, or pass --set tomogram=NAME where a file names none"
        )
    lost = int((~known).sum())
    return picks.select(known), {"in tomograms without truth": lost} if lost else {}


def _inside(particles: Particles, config: EvaluateConfig) -> np.ndarray[Any, np.dtype[np.bool_]]:
    kept = np.ones(len(particles), dtype=bool)
    for axis, (low, high) in config.region.items():
        values = particles.table[axis].to_numpy(dtype=np.float64)
        kept &= (values >= (-np.inf if low is None else low)) & (values < (np.inf if high is None else high))
    return kept


def _light(truth: Particles, config: EvaluateConfig) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if config.min_mass_kda is None:
        return np.zeros(len(truth), dtype=bool)
    if "mass_kda" not in truth.table.columns:
        raise InputError(f"{config.truth} has no column mass_kda, which min_mass_kda needs")
    return np.asarray(truth.table["mass_kda"].to_numpy(dtype=np.float64) < config.min_mass_kda)


def _unpicked(picks: Particles, names: list[str]) -> list[str]:
    """A tomogram that nobody picked in counts as missed altogether: say so."""
    empty = [name for name in names if name not in set(picks.tomograms)]
    return [f"no picks in {_some(empty)}: all particles there count as missed (--set tomograms=[...])"] if empty else []


def _on_traps(picks: Particles, truth: Particles, traps: Particles, radius: float) -> dict[str, int]:
    """Picks near a trap of each kind and near no true particle."""
    free = ~near(picks, truth, radius)
    kinds = traps.labels.astype(str)
    return {
        str(kind): int((near(picks, traps.select(kinds == kind), radius) & free).sum()) for kind in np.unique(kinds)
    }


def _write(config: EvaluateConfig, figures: dict[str, Any], skipped: dict[str, int]) -> None:
    if config.out is None:
        return
    content = {
        "schema": SCHEMA,
        "rule": config.rule,
        "score": figures,
        "skipped": skipped,
        "config": config.model_dump(mode="json", exclude={"out"}),
    }
    with replacing(config.out) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _distance_json(score: DistanceScore) -> dict[str, Any]:
    return asdict(score)


def _shrec21_json(score: Shrec21Score) -> dict[str, Any]:
    ratios = ("recall", "precision", "miss_rate", "f1", "macro_f1", "group_f1")
    classes = {name: asdict(part) | {"f1": part.f1} for name, part in score.per_class.items()}
    return asdict(score) | {name: getattr(score, name) for name in ratios} | {"per_class": classes}


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
