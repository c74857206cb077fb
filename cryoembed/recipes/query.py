"""`query`: a few examples in, ranked hits from every tomogram of a store out, as picks that RELION opens."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre
from cryoembed.io.formats import output_format, write_particles
from cryoembed.io.sniff import suffix_of
from cryoembed.io.tomogram_info import TomogramInfo
from cryoembed.mining.query import Hits, QueryConfig, near, rank_hits, score_by_examples
from cryoembed.particles import Particles
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.embedding import embed_positions, load_encoder, store_key
from cryoembed.recipes.records import write_record
from cryoembed.recipes.sources import open_source, read_picks, tomogram_infos
from cryoembed.store import EmbeddingStore
from cryoembed.store.key import check_same_key

UNNAMED = "particle"  # the class of examples without a label

_log = logging.getLogger(__name__)


class QueryRecipeConfig(Config):
    """What to look for, where, and how much of it to keep."""

    store: Path
    examples: Path
    out: Path = Field(description="hits, best first: .star (RELION 5) | .csv | .parquet | .coords")
    negatives: Path | None = None
    top: int | None = Field(None, ge=1, description="best hits of each class")
    min_score: float | None = Field(None, ge=-1, le=1)
    include_examples: bool = Field(True, description="particles of the store at an example's place may be hits")
    radius: float | None = Field(
        None, gt=0, description="A: one hit per place; None: half a typical particle of the store"
    )
    scoring: QueryConfig = QueryConfig()
    weights: str | None = Field(None, description="bundled name or .safetensors; None: those that made the store")
    tomogram: str | None = Field(None, description="where the picks lie, for formats that do not say")
    tomograms: tuple[Path, ...] = Field((), description="volumes that have moved since they were indexed")
    tomograms_star: Path | None = None
    voxel_size: float | None = Field(None, gt=0, description="A, of picks in voxels")
    relion_centre: RelionCentre = "n/2"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


def query(config: QueryRecipeConfig) -> str:
    """Rank every particle of a store by likeness to the examples and write the hits; returns the closing line.

    Beside the hits lies a record of how they came about: ``hits.star.json`` with settings, examples, model and store.

    Examples need not be particles of the store: the box at the given place is embedded. In a store made with a mask a
    box is masked by the instance that holds the place; on no instance it is embedded unmasked.

    Raises
    ------
    InputError
        For examples that are empty, elsewhere or outside, weights that did not make the store, a source that has
        changed, and for a threshold that leaves no hit: a query never ends having written nothing.
    """
    _refuse_target(config)
    store = EmbeddingStore.open(config.store)
    if len(store) == 0:
        raise InputError(f"the store {config.store} holds no particles; index tomograms first")
    infos = tomogram_infos(store, config.tomograms_star)
    examples = _labelled(_read(config, config.examples, store, "examples"))
    negatives = _read(config, config.negatives, store, "negatives") if config.negatives else Particles.empty()
    vectors = embed_picks(config, store, Particles.concatenate([examples, negatives]))

    particles = store.particles()
    radius = config.radius or _typical_radius(particles, store.key.box_angstrom)
    at_examples = _at(particles, examples, radius)
    scored = score_by_examples(
        [store.vectors(name) for name in store.tomograms],
        vectors[: len(examples)],
        examples.labels.tolist(),
        config.scoring,
        negatives=vectors[len(examples) :],
        shown=at_examples | _at(particles, negatives, radius),
    )
    _warn_of_few(scored, config.scoring.expand)
    leave_out = None if config.include_examples else at_examples
    hits = rank_hits(scored, particles, radius=radius, top=config.top, min_score=config.min_score, leave_out=leave_out)
    if len(hits) == 0:
        raise InputError(
            f"no hit is left of {len(store)} particles ({_reasons(hits)}); the best score is {scored.scores[0]:.3f}, "
            "the median {:.3f}: lower --min-score".format(float(np.median(scored.scores)))
        )
    found = particles.select(hits.rows).with_columns(label=hits.labels, score=hits.scores)
    if suffix_of(config.out) == ".star":
        _warn_of_crops(found.tomograms, infos)
    frames = infos if suffix_of(config.out) == ".star" else tomogram_infos(store)  # voxels are the indexed volumes' own
    write_particles(config.out, found, tomograms=frames, relion_centre=config.relion_centre)
    write_record(
        config.out,
        config,
        inputs=[config.examples, *([config.negatives] if config.negatives else [])],
        models={store.key.model_name: store.key.model_hash},
        store_content=store.content_hash,
        left_out=hits.skipped,
        joined_scores=hits.joined,
    )
    return _closing_line(config, found, hits, examples, negatives, _at(examples, particles, radius), radius)


def embed_picks(config: QueryRecipeConfig, store: EmbeddingStore, picks: Particles) -> npt.NDArray[np.float32]:
    """(n, d) vectors of picks, made as the store's own: same weights, preparation, box and mask."""
    weights = config.weights or store.weights
    if not weights:
        raise InputError("the store does not say which weights made it; pass --set weights=FILE_OR_NAME")
    encoder = load_encoder(weights)
    key = store_key(encoder.card, encoder.model_hash, copies=store.key.copies)
    check_same_key(store.key, key, where=str(config.store))
    vectors = np.zeros((len(picks), store.key.dim), dtype=np.float32)
    for name in picks.tomograms:
        rows = np.flatnonzero((picks.table["tomogram"] == name).to_numpy())
        source = store.source(name)
        volume = open_source(store, name, config.tomograms)
        prepared = prepare(volume, store.key.input, contrast=source.contrast if source else "auto").tomogram
        instances = store.instances(name) if store.key.mask != "none" else None
        if store.key.mask != "none" and instances is None:
            _log.warning("%s: the store kept no instances, so the examples are embedded without a mask", name)
        vectors[rows] = embed_positions(
            encoder.module,
            store.key,
            prepared,
            picks.positions_zyx[rows],
            instances=instances,
            device=config.device,
            precision=config.precision,
        )
    return vectors


def _refuse_target(config: QueryRecipeConfig) -> None:
    """Before minutes of embedding: can hits be written there at all, and is the target none of the inputs?"""
    output_format(config.out)
    if config.out.is_dir():
        raise InputError(f"{config.out} is a folder; --out wants a file such as {config.out / 'hits.star'}")
    for given in (config.examples, config.negatives):
        if given is not None and given.exists() and config.out.exists() and config.out.samefile(given):
            raise InputError(f"{config.out} holds the picks that are asked with; choose another --out")


def _read(config: QueryRecipeConfig, path: Path, store: EmbeddingStore, what: str) -> Particles:
    infos = tomogram_infos(store, config.tomograms_star)
    return read_picks(
        path,
        store,
        infos,
        what=what,
        tomogram=config.tomogram,
        voxel_size=config.voxel_size,
        relion_centre=config.relion_centre,
    )


def _labelled(examples: Particles) -> Particles:
    """Every example in a class: all named, or all in the one class `UNNAMED`."""
    labels = examples.labels
    without = np.flatnonzero(labels == "")
    if len(without) == len(labels):
        return examples.with_columns(label=UNNAMED)
    if len(without):
        rows = ", ".join(str(row + 1) for row in without[:8])
        raise InputError(f"examples: rows {rows} have no label while others do; label every row, or none")
    return examples


def _warn_of_crops(names: list[str], infos: Mapping[str, TomogramInfo]) -> None:
    """RELION counts from the centre of the whole tomogram: that of a crop is another one."""
    crops = [name for name in names if any(infos[name].origin) and not infos[name].star_name]
    if crops:
        _log.warning(
            "%s: indexed as part of a larger frame (--origin), whose size is not known: the STAR file counts from the "
            "centre of the indexed volume itself. For RELION's tomogram pass its tomograms.star with --tomograms-star; "
            "csv and parquet hold positions in the parent frame",
            ", ".join(crops),
        )


def _warn_of_few(scored: Hits, wanted: int) -> None:
    """Fewer hits could join than were asked for: the last ones are hardly of the class."""
    few = [name for name, joined in scored.joined.items() if len(joined) < wanted]
    if few:
        _log.warning(
            "--expand %d: no more than %s had a score above 0, so what joined may not be of the class; take fewer",
            wanted, ", ".join(f"{len(scored.joined[name])} of {name}" for name in few),
        )  # fmt: skip


def _typical_radius(particles: Particles, box_angstrom: float) -> float:
    """A: radius of the sphere of the median particle's volume; an eighth of the box where volumes are unknown."""
    volumes = particles.column("volume", np.nan).astype(np.float64)
    volumes = volumes[np.isfinite(volumes) & (volumes > 0)]
    return float((3 * np.median(volumes) / (4 * np.pi)) ** (1 / 3)) if len(volumes) else box_angstrom / 8


def _at(these: Particles, others: Particles, radius: float) -> npt.NDArray[np.bool_]:
    """(n,) whether a particle has one of the others of its own tomogram within ``radius``."""
    found = np.zeros(len(these), dtype=bool)
    names, other_names = these.table["tomogram"].to_numpy(), others.table["tomogram"].to_numpy()
    for name in these.tomograms:
        rows = names == name
        found[rows] = near(these.positions_zyx[rows], others.positions_zyx[other_names == name], radius)
    return found


def _closing_line(
    config: QueryRecipeConfig,
    found: Particles,
    hits: Hits,
    examples: Particles,
    negatives: Particles,
    on_particle: npt.NDArray[np.bool_],
    radius: float,
) -> str:
    tomograms = found.table["tomogram"].tolist()
    asked = f"{len(examples)} examples" + (f" and {len(negatives)} negatives" if len(negatives) else "")
    missed = int((~on_particle).sum())
    asked += f" ({missed} with no particle of the store within {radius:.0f} A)" if missed else ""
    if hits.joined:
        joined = (
            f"{len(scores)} hits of first-pass score {scores[0]:.2f} to {scores[-1]:.2f} joined {name}"
            for name, scores in hits.joined.items()
            if scores
        )
        asked += f"; {', '.join(joined) or 'no hit joined'}"
    line = (
        f"{len(found)} hits ({_counts(hits.labels.tolist())}) in {len(set(tomograms))} tomograms ({_counts(tomograms)})"
    )
    return f"{line} from {asked}; left out: {_reasons(hits)}; written to {config.out}"


def _counts(names: list[str], most: int = 6) -> str:
    counts = Counter(names).most_common()
    rest = f", {len(counts) - most} more" if len(counts) > most else ""
    return ", ".join(f"{name} {count}" for name, count in counts[:most]) + rest


def _reasons(hits: Hits) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in hits.skipped.items()) or "none"
