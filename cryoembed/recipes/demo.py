"""`demo`: the whole walk on simulated tomograms with the bundled weights, scored against the truth, shown on a page."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.evaluate.clustering import score_clusters
from cryoembed.evaluate.distance import DistanceScore, score_distance
from cryoembed.evaluate.match import assign
from cryoembed.evaluate.table import as_text
from cryoembed.io import read_particles, write_particles
from cryoembed.io.atomic import replacing
from cryoembed.mining.cluster import ClusterConfig
from cryoembed.particles import Particles, is_particle
from cryoembed.recipes.cluster import CLUSTERS, ClusterRecipeConfig, cluster
from cryoembed.recipes.demo_page import write_demo_page
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.query import QueryRecipeConfig, query
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.recipes.sources import tomogram_infos
from cryoembed.simulate.density.phantoms import PhantomSpec
from cryoembed.simulate.imaging.series import ImagingConfig
from cryoembed.store import EmbeddingStore

_log = logging.getLogger(__name__)

LARGE_KDA = 500.0
SPECIES = (  # shapes of their own seeds: no shipped network was trained on them
    PhantomSpec(name="twobody_2500", family="two_body", mass_kda=2500, seed=11),
    PhantomSpec(name="barrel_1600", family="barrel", mass_kda=1600, symmetry="D7", seed=12),
    PhantomSpec(name="shell_900", family="shell", mass_kda=900, symmetry="O", seed=13),
    PhantomSpec(name="rod_700", family="rod", mass_kda=700, seed=14),
    PhantomSpec(name="ring_550", family="ring", mass_kda=550, symmetry="C6", seed=15),
    PhantomSpec(name="blob_250", family="blob", mass_kda=250, seed=16),
)

Scores = dict[str, Any]


class DemoConfig(Config):
    """A data set small enough for a laptop."""

    out: Path = Path("demo")
    models: int = Field(3, ge=2, description="tomograms; examples come from the first, query scores from the others")
    shape: tuple[int, int, int] = (64, 192, 192)
    counts: int = Field(14, ge=1, description="particles per species and tomogram")
    snr_particle: tuple[float, float] = (1.0, 2.0)
    examples: int = Field(5, ge=1, description="per species")
    radius: float = Field(60.0, gt=0, description="A; how near a pick must be to count")
    seed: int = 2
    device: str = "auto"

    @model_validator(mode="after")
    def _enough_to_pick(self) -> DemoConfig:
        if self.examples > self.counts:
            raise ValueError(f"examples {self.examples} exceed counts {self.counts} per species and tomogram")
        return self


def demo(config: DemoConfig) -> str:
    """Simulate, denoise, index, query, cluster, evaluate; write ``page.html`` and ``scores.json``."""
    start = time.monotonic()
    out, store_path = config.out, config.out / "store"
    _log.info("The whole walk on %d simulated tomograms: under two minutes and 2 GB on two cores.", config.models)
    _log.info("1. simulate: %s", simulate(_dataset(config)))
    models = [out / "dataset" / f"model_{number}" for number in range(config.models)]
    truth = Particles.concatenate([read_particles(model / "particles.parquet") for model in models])
    truth = truth.select(is_particle(truth.labels))
    volumes = tuple(model / "reconstruction.mrc" for model in models)
    shown = volumes[1:2]
    _log.info("2. denoise: %s", denoise(DenoiseConfig(tomograms=shown, out=out / "denoised", device=config.device)))
    _log.info("3. index: %s", index(IndexConfig(tomograms=volumes, out=store_path, device=config.device)))

    first = truth.tomograms[0]
    examples = pick_examples(truth.of(first), per_label=config.examples, seed=config.seed)
    write_particles(out / "examples.csv", examples)
    asked = QueryRecipeConfig(
        store=store_path, examples=out / "examples.csv", out=out / "hits.star", device=config.device
    )
    _log.info("4. query: %s", query(asked))
    settings = ClusterConfig(n_clusters=len(SPECIES) + 1, seed=config.seed)
    _log.info(
        "5. cluster: %s",
        cluster(ClusterRecipeConfig(store=store_path, out=out / "clusters", clusters=settings, layout="pca")),
    )

    store = EmbeddingStore.open(store_path)
    found, hits = store.particles(), read_particles(out / "hits.star", tomograms=tomogram_infos(store))
    write_particles(out / "hits.csv", hits)  # the same, in the parent frame
    clusters = read_particles(out / "clusters" / CLUSTERS)
    unseen = [name for name in truth.tomograms if name != first]
    scores = score(found, hits, clusters, truth, unseen=unseen, radius=config.radius)
    with replacing(out / "scores.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=1) + "\n")
    write_demo_page(out, unseen[0], truth, hits, scores)
    summary = (
        f"localisation F1 {scores['localisation']['f1']:.3f}, query AP {scores['query_ap_large']:.3f} "
        f"(particles above {LARGE_KDA:.0f} kDa), cluster NMI {scores['clusters']['nmi']:.3f}"
    )
    return (
        f"{as_text(scores['rows'])}\n{summary}; {time.monotonic() - start:.0f} s; "
        f"open {out / 'page.html'}, RELION picks in {out / 'hits.star'}"
    )


def pick_examples(truth: Particles, *, per_label: int, seed: int) -> Particles:
    """Draw some particles of each label, as a person would who clicks on a few of each."""
    generator = np.random.default_rng(seed)
    rows = [
        generator.choice(np.flatnonzero(truth.labels == label), per_label, replace=False)
        for label in dict.fromkeys(truth.labels)
    ]
    chosen = truth.select(np.sort(np.concatenate(rows)))
    return Particles(chosen.table[["tomogram", "z", "y", "x", "label"]])


def score(
    found: Particles, hits: Particles, clusters: Particles, truth: Particles, *, unseen: list[str], radius: float
) -> Scores:
    """Localisation of all tomograms, query AP on those without examples, agreement of clusters with species.

    Particles below `LARGE_KDA` are ignored by the localisation score: found or not, they count neither way.
    """
    large = truth.column("mass_kda", 0.0).astype(np.float64) >= LARGE_KDA
    localisation = score_distance(found, truth.select(large), radius=radius, ignore=truth.select(~large))
    test = Particles.concatenate([truth.of(name) for name in unseen])
    ranked = score_distance(
        Particles.concatenate([hits.of(name) for name in unseen]), test, radius=radius, per_class=True
    )
    large_names = [spec.name for spec in SPECIES if spec.mass_kda >= LARGE_KDA]
    precisions = [_ap(ranked.per_class[name]) for name in large_names]
    return {
        "localisation": _counts(localisation),
        "query_ap_large": float(np.mean(precisions)),
        "query": {name: _counts(part) for name, part in sorted(ranked.per_class.items())},
        "clusters": _cluster_scores(clusters, truth, radius=radius),
        "radius": radius,
        "rows": [
            {
                "species": spec.name,
                "kDa": f"{spec.mass_kda:.0f}",
                "query AP": f"{_ap(ranked.per_class[spec.name]):.3f}",
                "found": f"{recall_of(found, truth, spec.name, radius):.2f}",
            }
            for spec in SPECIES
        ],
    }


def recall_of(found: Particles, truth: Particles, label: str, radius: float) -> float:
    """Share of the particles of one label that some instance lies near to, one-to-one."""
    return score_distance(found, truth.select(truth.labels == label), radius=radius).recall


def _cluster_scores(clusters: Particles, truth: Particles, *, radius: float) -> dict[str, float]:
    numbers, labels = [], []
    for name in truth.tomograms:
        members, true = clusters.of(name), truth.of(name)
        pairs = assign(members.positions_zyx, true.positions_zyx, radius)
        numbers.append(members.column("cluster", 0)[pairs[:, 0]])
        labels.append(true.labels[pairs[:, 1]])
    result = score_clusters(np.concatenate(numbers), np.concatenate(labels))
    return {"n": result.n, "nmi": result.nmi, "ari": result.ari, "purity": result.purity}


def _ap(score: DistanceScore) -> float:
    return score.average_precision or 0.0


def _counts(score: DistanceScore) -> dict[str, float]:
    names = ("n_truth", "n_picks", "tp", "fp", "fn", "precision", "recall", "f1", "average_precision", "mean_distance")
    return {name: getattr(score, name) for name in names}


def _dataset(config: DemoConfig) -> SimulateConfig:
    return SimulateConfig(
        out=config.out / "dataset",
        models=config.models,
        test=config.models,
        shape=config.shape,
        phantoms=SPECIES,
        counts=config.counts,
        gap=10.0,
        imaging=ImagingConfig(snr_particle=config.snr_particle, defocus_um=(2.0, 4.0)),
        seed=config.seed,
    )
