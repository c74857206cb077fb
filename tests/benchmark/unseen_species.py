"""Query by example for species that no shipped network has seen: the SHREC 2021 proteins, on simulated tomograms.

    python -m tests.benchmark.unseen_species ../shared/data --weights subtomogram_small
    python -m tests.benchmark.unseen_species ../shared/data --split validation          # what chooses between networks

Tomograms are SHREC-style (`configs/simulate_mini_shrec.yaml` with other counts; weak phase), never SHREC 2021's own. Boxes
are cut at the true centres and at places where nothing is; ``examples`` of each class are drawn ten times, all others
are scored with `query`'s own ranking. ``clean`` is the noise-free reconstruction of the same tilts, wedge and
CTF included. ``--baselines`` adds low-passed voxels, radial profile with power spectrum, and spherical-harmonic power, each
with PCA, of boxes as they are and of flattened ones (`cryoembed.preprocess.spectrum`). NMI, ARI and purity are of
clusters made without any example. `true_maps` has template matching's row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.config import load_config
from cryoembed.evaluate.clustering import score_clusters
from cryoembed.evaluate.table import as_text
from cryoembed.io import read_particles, read_tomogram
from cryoembed.mining.cluster import ClusterConfig, cluster
from cryoembed.particles import Particles, is_molecule
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.simulate.imaging.series import ImagingConfig
from cryoembed.subtomograms import cut_boxes
from tests.benchmark.baselines import FEATURES, fitted
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.few_shot import BACKGROUND, FewShotScore, few_shot

BOX = 32
SNRS = {"clean": 0.5, "0.5": 0.5, "0.1": 0.1}  # the noise-free volumes come with those of 0.5
EMPTY_PER_MODEL = 40
EMPTY_DISTANCE = 160.0  # A from any particle's centre
Boxes = npt.NDArray[np.float32]
Embed = Callable[[Boxes], npt.NDArray[np.float32]]
INPUTS = {"": InputConfig(), ", flattened": InputConfig(flatten=True)}


@dataclass(frozen=True)
class Method:
    """What makes vectors of boxes, and of which preparation the boxes must be."""

    inputs: InputConfig
    embed: Embed


def dataset(out: Path, structures: Path, snr: float, *, split: str, models: int) -> list[Path]:
    """Models at one ``snr_particle``; the same samples at every SNR."""
    path = CONFIGS / ("simulate_mini_shrec.yaml" if split == "test" else "simulate_validation.yaml")
    asked = load_config(SimulateConfig, path)
    imaging = asked.imaging.model_dump() | {"model": "weak_phase", "snr_particle": (snr, snr)}
    config = asked.model_copy(
        update={
            "out": out / f"{split}_snr_{snr:g}", "structure_folder": structures, "models": models, "validation": 0,
            "test": models, "shape": (96, 256, 256), "particles": (220, 260), "write_halves": True,
            "imaging": ImagingConfig(**imaging),
        }
    )  # fmt: skip
    print(simulate(config), flush=True)
    return [config.out / f"model_{index}" for index in range(models)]


def boxes_of(
    models: Sequence[Path], volume: str, inputs: InputConfig, *, shift_vox: float = 0.0, first: int = 0
) -> tuple[Boxes, npt.NDArray[np.str_], dict[str, float]]:
    """Boxes at true centres and at empty places, their labels, and the species' masses.

    Parameters
    ----------
    shift_vox
        Largest error of a centre, per axis: what a segmentation would make of it.
    first
        Number of the first model, which seeds its empty places.
    """
    boxes, labels, masses = [], [], {}
    for index, model in enumerate(models, start=first):
        generator = np.random.default_rng([7, index])
        tomogram = prepare(read_tomogram(model / f"{volume}.mrc", name=model.name), inputs).tomogram
        everything = read_particles(model / "particles.parquet")
        truth = everything.select(is_molecule(everything.labels))
        masses |= dict(zip(truth.labels.tolist(), truth.column("mass_kda", 0.0).astype(float).tolist(), strict=True))
        centres = np.concatenate([truth.positions_zyx, _empty(everything, tomogram.size_angstrom, generator)])
        centres = centres / tomogram.voxel_size + generator.uniform(-shift_vox, shift_vox, centres.shape)
        boxes.append(cut_boxes(tomogram.data, centres, BOX))
        labels += [*truth.labels.tolist(), *[BACKGROUND] * (len(centres) - len(truth))]
    return np.concatenate(boxes), np.array(labels), masses


def encoder(weights: str, *, copies: int = 4) -> Method:
    """A bundled network, or a file's."""
    from cryoembed.infer.vectors import embed_boxes
    from cryoembed.models.checkpoint import find_weights, load_weights

    loaded = load_weights(find_weights(weights))
    if loaded.card.input not in INPUTS.values() or loaded.card.network.box_vox != BOX:
        raise SystemExit(
            f"{weights}: the benchmark's boxes are {BOX} voxels of {InputConfig().voxel_size:g} A, z-scored"
        )
    module = loaded.module
    return Method(loaded.card.input, lambda boxes: embed_boxes(module, boxes, batch=64, copies=copies))


def rows_of(
    name: str, ms_per_box: float | None, scores: dict[int, FewShotScore], masses: dict[str, float]
) -> dict[str, str]:
    """One line of the table: F1 and AP for each number of examples, and five examples by mass."""
    row = {"method": name}
    if ms_per_box is not None:
        row["ms/box"] = f"{ms_per_box:.1f}"
    for examples, score in scores.items():
        row[f"F1 ({examples})"] = f"{score.mean_f1:.2f}"
        row[f"AP ({examples})"] = f"{score.mean_ap:.2f}"
    if 5 in scores:
        row |= {f"F1 (5) {group} kDa": f"{f1:.2f}" for group, (f1, _) in scores[5].by_mass(masses).items()}
    return row


def main() -> None:
    """Print a table for each SNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("--out", type=Path, default=Path("runs/unseen_species"))
    parser.add_argument("--weights", nargs="+", default=["subtomogram_small"])
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 10, 20])
    parser.add_argument("--snr", nargs="+", default=list(SNRS), choices=list(SNRS))
    parser.add_argument("--expand", type=int, default=0, help="of `query`: best hits that join the examples")
    parser.add_argument("--shift", type=float, default=0.0, help="voxels that centres are off by, at most, per axis")
    parser.add_argument("--baselines", action="store_true", help="hand-made features, too")
    parser.add_argument("--per-species", action="store_true")
    asked = parser.parse_args()
    methods = _methods(asked)
    for snr in asked.snr:
        models = dataset(asked.out, asked.structures, SNRS[snr], split=asked.split, models=asked.models)
        volume = "clean" if snr == "clean" else "reconstruction"
        made: dict[InputConfig, Boxes] = {}
        rows = []
        for name, method in methods.items():
            if method.inputs not in made:  # labels and masses are the same whatever the preparation
                made[method.inputs], labels, masses = boxes_of(models, volume, method.inputs, shift_vox=asked.shift)
                counts = {name: int((labels == name).sum()) for name in np.unique(labels)}
            if not rows:
                print(f"\nsnr_particle {snr}: {len(labels)} boxes, {counts}", flush=True)
            boxes, start = made[method.inputs], time.process_time()
            vectors = method.embed(boxes)
            seconds = (time.process_time() - start) / len(boxes) * 1000
            scores = {
                n: few_shot(vectors, labels, examples=n, draws=10, seed=0, expand=asked.expand) for n in asked.examples
            }
            rows.append(rows_of(name, seconds, scores, masses) | _clusters(vectors, labels))
            if asked.per_species:
                some = scores[5 if 5 in scores else asked.examples[0]].f1
                detail = [{"species": s, "kDa": f"{masses[s]:.0f}", "F1": f"{f1:.2f}"} for s, f1 in some.items()]
                print(as_text(sorted(detail, key=lambda row: float(row["kDa"]))))
        print(as_text(rows), flush=True)


def _methods(asked: argparse.Namespace) -> dict[str, Method]:
    methods = {name: encoder(name) for name in asked.weights}
    return methods | (baselines() if asked.baselines else {})


def baselines() -> dict[str, Method]:
    """Hand-made features, each of both preparations, fitted to 1500 boxes of phantoms as the networks were trained on."""
    methods = {}
    for suffix, inputs in INPUTS.items():
        seen = training_boxes(1500, flatten=inputs.flatten)
        methods |= {f"{name}{suffix}": Method(inputs, fitted(name, seen)) for name in FEATURES}
    return methods


def training_boxes(count: int, *, flatten: bool) -> Boxes:
    """Boxes of phantoms as trainings draw them."""
    from cryoembed.views.pool import SubtomogramConfig, build_pool
    from cryoembed.views.subtomograms import draw_boxes

    generator = np.random.default_rng(11)
    config = SubtomogramConfig(phantoms=100, seed=11, flatten=flatten)
    pool = build_pool(config)
    parts = [
        draw_boxes(pool, config, generator.integers(pool.classes, size=100), generator) for _ in range(count // 100)
    ]
    return np.concatenate([part.numpy() for part in parts])


def _clusters(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.str_]) -> dict[str, str]:
    """k-means into 40 cells, then spectral clustering of their centroids into as many clusters as there are species."""
    species = labels != BACKGROUND
    config = ClusterConfig(k=40, n_clusters=len(np.unique(labels[species])))
    score = score_clusters(cluster(vectors[species], config).labels, labels[species])
    return {"NMI": f"{score.nmi:.2f}", "ARI": f"{score.ari:.2f}", "purity": f"{score.purity:.2f}"}


def _empty(
    particles: Particles, size_angstrom: npt.ArrayLike, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Up to `EMPTY_PER_MODEL` places far from every particle, membrane and bead (those whose centres are known)."""
    from scipy.spatial import cKDTree

    size = np.asarray(size_angstrom, dtype=np.float64)
    places = generator.uniform(0.1, 0.9, size=(20_000, 3)) * size
    distance, _ = cKDTree(particles.positions_zyx).query(places)
    return places[distance > EMPTY_DISTANCE][:EMPTY_PER_MODEL]


if __name__ == "__main__":
    main()
