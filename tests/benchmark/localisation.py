"""Instances against truth on the validation set: the table that chose the foreground threshold.

    python -m tests.benchmark.localisation --out runs/validation

Simulates tomograms of phantoms that neither the shipped networks nor the demo have seen (other seeds), runs the voxel
network once on each, segments at several thresholds, and prints precision, recall and F1 of the particles above
500 kDa (one-to-one within 60 A; lighter ones count neither way). Thresholds are chosen here, never on test data. The
second table says what the network takes the phantoms of each shape for: shares of their voxels.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from cryoembed.evaluate.distance import score_distance
from cryoembed.evaluate.table import as_text
from cryoembed.infer.voxels import predict_volume
from cryoembed.instances.config import InstanceConfig
from cryoembed.instances.measure import measure
from cryoembed.instances.segment import segment_instances
from cryoembed.io import read_particles, read_tomogram
from cryoembed.io.atomic import replacing
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.particles import Particles, is_molecule, is_particle
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.find_instances import INSTANCE_MAPS, load_voxel_model
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.semantic import SEMANTIC_CLASSES
from cryoembed.simulate.imaging.series import ImagingConfig

RADIUS, LARGE_KDA = 60.0, 500.0
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
SNRS = (0.3, 0.6, 1.2, 2.0)


def dataset(out: Path, snr: float) -> list[Path]:
    """Two tomograms at one SNR, with phantoms of their own."""
    folder = out / f"snr_{snr:g}"
    config = SimulateConfig(
        out=folder, models=2, validation=2, shape=(64, 192, 192), fresh_phantoms=8, mass_range_kda=(200, 3500), counts=8,
        gap=10.0, vesicles=(0, 1), fiducials=(0, 1), allow_shortfall=True, seed=round(1000 * snr) + 77,
        imaging=ImagingConfig(snr_particle=(snr, snr)),
    )  # fmt: skip
    print(simulate(config))
    return sorted(folder.glob("model_*"))


def evaluate(models: list[Path], config: InstanceConfig, weights: str) -> tuple[float, float, float]:
    """Precision, recall and F1 over the models; maps are computed once and kept beside them."""
    found, large, small = [], [], []
    for model in models:
        maps = _maps(model, weights)
        tomogram = read_tomogram(model / "reconstruction.mrc", name=model.name)
        labels = segment_instances(*(maps[name] for name in INSTANCE_MAPS), config, voxel_size=tomogram.voxel_size)
        found.append(measure(labels, tomogram.voxel_size, tomogram=model.name, score_map=maps["foreground"]))
        truth = read_particles(model / "particles.parquet")
        truth = truth.select(is_particle(truth.labels))
        heavy = truth.column("mass_kda", 0.0).astype(np.float64) >= LARGE_KDA
        large.append(truth.select(heavy))
        small.append(truth.select(~heavy))
    picks, targets, ignored = (Particles.concatenate(parts) for parts in (found, large, small))
    score = score_distance(picks, targets, radius=RADIUS, ignore=ignored)
    return score.precision, score.recall, score.f1


def shapes(models: list[Path], weights: str) -> list[dict[str, str]]:
    """Of each shape of phantom the share of voxels that are foreground, and of each class where the network has them."""
    shares: dict[str, list[np.ndarray]] = {}
    columns = ("foreground", *SEMANTIC_CLASSES)
    for model in models:
        maps = _maps(model, weights)
        seen = [maps["foreground"] > InstanceConfig().foreground_threshold]
        seen += [maps["classes"] == number for number in range(len(SEMANTIC_CLASSES)) if "classes" in maps]
        instances = read_tomogram(model / "occupancy_mask.mrc").data.astype(np.int64)
        truth = read_particles(model / "particles.parquet")
        truth = truth.select(is_molecule(truth.labels))
        for label, instance in zip(truth.labels, truth.column("instance", 0).astype(np.int64), strict=True):
            voxels = instances == instance
            shape = re.sub(r"_\d+kda.*", "", str(label))
            shares.setdefault(shape, []).append(np.array([part[voxels].mean() for part in seen]))
    return [
        {"shape": shape, "particles": str(len(found))}
        | dict(zip(columns, (f"{share:.2f}" for share in np.mean(found, axis=0)), strict=False))
        for shape, found in sorted(shares.items())
    ]


def _maps(model: Path, weights: str) -> dict[str, np.ndarray]:
    loaded = load_voxel_model(weights)
    cache = model / f"maps_and_classes_{loaded.model_hash}.npz"
    if not cache.exists():
        assert isinstance(loaded.module, VoxelNetwork)
        volume = prepare(read_tomogram(model / "reconstruction.mrc"), loaded.card.input).tomogram.data
        semantic = ("semantic",) if "semantic" in loaded.module.config.heads else ()
        maps = predict_volume(loaded.module, volume, outputs=(*INSTANCE_MAPS, *semantic))
        if semantic:
            maps["classes"] = maps.pop("semantic").argmax(axis=0).astype(np.uint8)
        with replacing(cache) as path, path.open("wb") as file:
            np.savez(file, **maps)
    with np.load(cache) as stored:
        return dict(stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/validation"))
    parser.add_argument("--weights", default="voxel_small")
    parser.add_argument("--beta", type=float, default=InstanceConfig().beta)
    parser.add_argument("--shape-weight", type=float, default=InstanceConfig().shape_weight)
    parser.add_argument("--seed-distance", type=float, default=InstanceConfig().seed_distance_vox, help="voxels")
    parser.add_argument("--no-multicut", action="store_true")
    arguments = parser.parse_args()
    models = {snr: dataset(arguments.out, snr) for snr in SNRS}
    rows = []
    for threshold in THRESHOLDS:
        settings = InstanceConfig(
            foreground_threshold=threshold, beta=arguments.beta, shape_weight=arguments.shape_weight,
            seed_distance_vox=arguments.seed_distance, use_multicut=not arguments.no_multicut,
        )  # fmt: skip
        scores = {snr: evaluate(models[snr], settings, arguments.weights) for snr in SNRS}
        cells = {f"SNR {snr:g}": "{:.2f} {:.2f} {:.3f}".format(*score) for snr, score in scores.items()}
        mean = float(np.mean([score[2] for score in scores.values()]))
        rows.append({"threshold": f"{threshold:g}", **cells, "mean F1": f"{mean:.3f}"})
    print("precision recall F1 of particles above 500 kDa")
    print(as_text(rows))
    print("\nshare of the voxels of phantoms of each shape, at all SNRs")
    print(as_text(shapes([model for of in models.values() for model in of], arguments.weights)))


if __name__ == "__main__":
    main()
