"""The thesis' figures 16 to 18 at reduced scale: naming particles by whole, hull-masked and strictly masked boxes.

    python -m tests.benchmark.masks ../shared/data                                   # all; run again to go on
    python -m tests.benchmark.masks ../shared/data --only simsiam_none refine_none   # some of ROWS

For each mask a SimSiam pretraining and a contrastive refinement that starts from it (equations 17 and 18): the configs
pretrain_simsiam_small.yaml and pretrain_refine_small.yaml with `REDUCED`. Then tomograms of `unseen_species`' validation
split at ``snr_particle`` 0.5: boxes at the true centres of the first half teach the thesis' two classifiers, k-NN (k = 1)
and a perceptron; those of the other half are scored by F1. ``clean`` is the
noise-free reconstruction, ``denoised`` what voxel_small's head makes of the noisy one. Masks ``true`` are the simulation's
own voxels (an oracle); ``found`` are of the instance that voxel_small finds at the centre in the noisy tomogram, and none
where it finds nothing (claims of found masks are judged on the others). ``subtomogram_small`` was trained without masks,
``untrained`` is SimSiam before its first step, ``harmonics`` no network at all (`baselines`; its PCA learnt from the
teaching boxes).

`mask_claims` has what the thesis claims. Not like for like: thesis, a network for each kind of tomogram and mask, tested on
the classes of its training; ours, a network for each mask, trained on phantoms and tested on species it has never seen.
"""

from __future__ import annotations

import argparse
import json
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.evaluate.segmentation import dice
from cryoembed.geometry import nearest_voxel
from cryoembed.infer.vectors import embed_boxes
from cryoembed.instances.config import InstanceConfig
from cryoembed.io import read_particles, read_tomogram
from cryoembed.io.atomic import replacing
from cryoembed.mining.classify import classify
from cryoembed.models.build import build
from cryoembed.models.checkpoint import LoadedModel, find_weights, load_weights
from cryoembed.particles import is_molecule
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.find_instances import find_instances, load_voxel_model
from cryoembed.recipes.pretrain import PretrainConfig
from cryoembed.recipes.training_run import WEIGHTS
from cryoembed.subtomograms import cut_boxes
from cryoembed.tomogram import Tomogram
from tests.benchmark.baselines import fitted
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.mask_claims import MASKS, VIEWS, Called, Results, View, claims_table, f1_table
from tests.benchmark.trained import trained
from tests.benchmark.unseen_species import BOX, dataset

REDUCED = {  # of 1500 and 1000 steps, batches of 64 and 40, 1000 phantoms
    "simsiam": ["batch=32", "data.phantoms=400", "train.steps=400", "train.warmup_steps=20"],
    "refine": ["batch=16", "data.phantoms=400", "train.steps=400", "train.warmup_steps=20"],
}
ROWS = (*(f"{method}_{mask}" for mask in MASKS for method in REDUCED), "untrained", "subtomogram_small", "harmonics")
PUBLISHED = (  # sections 3.4 and 4.1
    "thesis: ResNet-10, 200 epochs of at most 175,371 subtomograms of 134 classes in batches of 10 (3 million steps), then "
    "200 epochs of refinement; 88,585 boxes scored; times are not printed"
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One tomogram: its volumes by kind, label volumes by source of masks, and its molecules."""

    images: dict[str, np.ndarray]
    instances: dict[str, np.ndarray]
    centres_vox: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    masses: dict[str, float]

    def boxes(self, view: View) -> np.ndarray:
        """(n, BOX, BOX, BOX); a centre in no found instance is cut whole."""
        ids = self.ids if view.source == "true" else None
        volume, instances = self.images[view.image], self.instances.get(view.source)
        return cut_boxes(volume, self.centres_vox, BOX, instances=instances, ids=ids, mask=view.mask)

    def agreement(self) -> list[float]:
        """Dice of each particle's own voxels and the instance found at its centre; NaN where none is."""
        true, found = self.instances["true"], self.instances["found"]
        at = found[tuple(nearest_voxel(self.centres_vox).T)]
        return [dice(true == i, found == one) if one else np.nan for i, one in zip(self.ids, at, strict=True)]


class Network(NamedTuple):
    """What embeds a row's boxes (None: harmonics), what its results are kept under, its line of the budget, its input."""

    module: torch.nn.Module | None
    key: str
    line: str
    inputs: InputConfig = InputConfig()


def sample(model: Path, finder: LoadedModel, cache: Path, inputs: InputConfig) -> Sample:
    """Read a simulated model, prepared as ``inputs`` say; what the finder makes of it is kept in ``cache``."""
    everything = read_particles(model / "particles.parquet")
    particles = everything.select(is_molecule(everything.labels))
    noisy, clean = (read_tomogram(model / f"{name}.mrc", name=model.name) for name in ("reconstruction", "clean"))
    settings = zlib.crc32(InstanceConfig().model_dump_json().encode())
    kept = cache / f"{model.name}_{finder.model_hash}_{settings:08x}_{zlib.crc32(noisy.data):08x}.npz"
    if not kept.exists():
        found = find_instances(noisy, finder, InstanceConfig(), further_maps=["denoise"])  # as `index` does
        with replacing(kept) as path:
            np.savez_compressed(path, labels=found.labels, denoised=found.maps["denoise"])
    with np.load(kept) as maps:
        denoised = Tomogram(maps["denoised"].astype(np.float32), noisy.voxel_size, model.name)
        instances = {"true": read_tomogram(model / "occupancy_mask.mrc").data.astype(np.int64), "found": maps["labels"]}
    prepared = prepare(noisy, inputs).tomogram
    return Sample(
        {
            "clean": prepare(clean, inputs).tomogram.data,
            "noisy": prepared.data,
            "denoised": prepare(denoised, inputs, contrast="bright").tomogram.data,
        },
        instances,
        prepared.to_voxel(particles.positions_zyx),
        particles.column("instance", 0).astype(np.int64),
        particles.labels.astype(str),
        dict(zip(particles.labels.tolist(), particles.column("mass_kda", 0.0).astype(float).tolist(), strict=True)),
    )


def row_config(out: Path, row: str, settings: Sequence[str] = ()) -> PretrainConfig:
    """The training of a row, a refinement's from the weights of the SimSiam with its mask."""
    method, mask = row.split("_")
    given = [*REDUCED[method], f"network.mask={mask}", f"data.mask_shares={json.dumps({'none': 0} | {mask: 1})}"]
    start = str(out / f"simsiam_{mask}" / WEIGHTS) if method == "refine" else None
    flags = {"name": row, "out": out / row, "weights": start}
    return load_config(PretrainConfig, CONFIGS / f"pretrain_{method}_small.yaml", [*given, *settings], flags=flags)


def train(out: Path, row: str, settings: Sequence[str] = ()) -> float:
    """Train a row after what it starts from; return its own CPU seconds, as `trained` does."""
    method, mask = row.split("_")
    if method == "refine":
        train(out, f"simsiam_{mask}", settings)
    return trained(row_config(out, row, settings))


def truth(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) labels of all boxes, and which are of the first half of the tomograms."""
    first = [np.full(len(one.labels), number < len(samples) // 2) for number, one in enumerate(samples)]
    return np.concatenate([one.labels for one in samples]), np.concatenate(first)


def fingerprint(samples: Sequence[Sample]) -> int:
    """Of all that is embedded and named: another finder, its settings or other tomograms give another."""
    found = 0
    for one in samples:
        for array in (*one.images.values(), *one.instances.values(), one.centres_vox, one.ids, one.labels):
            found = zlib.crc32(np.ascontiguousarray(array), found)
    return found


def named(samples: Sequence[Sample], view: View, embed: Callable[[np.ndarray], np.ndarray] | None) -> Called:
    """What both classifiers make of the boxes that do not teach; without ``embed``, of their harmonics."""
    boxes, (labels, teach) = np.concatenate([one.boxes(view) for one in samples]), truth(samples)
    vectors = (embed or fitted("harmonics", boxes[teach]))(boxes)
    kinds = {"k-NN": "cosine", "MLP": "mlp"}  # on vectors of length 1 the thesis' Euclidean distance ranks alike
    known, names = vectors[teach], labels[teach].tolist()
    return {name: classify(vectors[~teach], known, names, kind=kind).labels.astype(str) for name, kind in kinds.items()}


def network(row: str, out: Path) -> Network:
    """The network of a row; it is trained first."""
    if row == "harmonics":
        return Network(None, row, f"{row}: no network")
    if row == "untrained":
        config = load_config(PretrainConfig, CONFIGS / "pretrain_simsiam_small.yaml")
        torch.manual_seed(config.train.seed)
        return Network(build(config.network).eval(), row, f"{row}: 0 steps")
    spent, path = "", find_weights("subtomogram_small")
    if row != "subtomogram_small":
        seconds, path = train(out, row), out / row / WEIGHTS
        spent = "" if np.isnan(seconds) else f"{seconds:.0f} CPU s, "
    loaded = load_weights(path)
    count = sum(parameter.numel() for parameter in loaded.module.parameters())
    line = f"{row}: {count / 1e6:.2f} M parameters, {loaded.card.steps} steps, {spent}{loaded.card.training_data}"
    return Network(loaded.module, f"{row}_{loaded.model_hash}", line, loaded.card.input)


def results_of(row: str, network: Network, samples: Sequence[Sample], kept: Path) -> Results:
    """Embed and name what ``kept`` does not hold yet: every view with the row's mask, or every view there is."""
    results: Results = {}
    labels, teach = truth(samples)
    family, _, mask = row.partition("_") if row.startswith(tuple(REDUCED)) else (row, "", "")
    embed = network.module and partial(embed_boxes, network.module, batch=64, copies=4)
    for view in (view for view in VIEWS if mask in ("", view.mask)):
        file = kept / f"{'-'.join((network.key, *view))}.json"
        if not file.exists():
            called = named(samples, view, embed)
            with replacing(file) as path:
                path.write_text(json.dumps({name: found.tolist() for name, found in called.items()}))
        results[family, view] = {name: np.array(found) for name, found in json.loads(file.read_text()).items()}
        accuracy = [f"{name} {(found == labels[~teach]).mean():.3f}" for name, found in results[family, view].items()]
        print(row, *view, "accuracy", *accuracy, flush=True)
    return results


def main(arguments: list[str] | None = None) -> None:
    """Train, embed and name what is not there yet; print budget, F1 and claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("--out", type=Path, default=Path("runs/masks"))
    parser.add_argument("--data", type=Path, default=Path("runs/unseen_species"), help="tomograms, made where missing")
    parser.add_argument("--models", type=int, default=4, help="tomograms; half of them teach")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=", ".join(ROWS))
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "Stochastic Optimizer")  # the perceptron's 300 epochs are `classify`'s own
    networks = [network(row, asked.out) for row in asked.only]
    finder = load_voxel_model("voxel_small", ("instance", "denoise"))
    models = dataset(asked.data, asked.structures, 0.5, split="validation", models=asked.models)
    results: Results = {}
    prepared: dict[InputConfig, list[Sample]] = {}
    for row, one in zip(asked.only, networks, strict=True):
        if one.inputs not in prepared:
            prepared[one.inputs] = [sample(model, finder, asked.out / "found", one.inputs) for model in models]
        samples = prepared[one.inputs]
        results |= results_of(row, one, samples, asked.out / f"named_{fingerprint(samples):08x}")
    labels, teach = truth(samples)  # the same whatever the preparation, as masks are
    agreement = np.concatenate([one.agreement() for one in samples])
    found = np.isfinite(agreement)
    masses = {name: mass for one in samples for name, mass in one.masses.items()}
    print("", *(one.line for one in networks), PUBLISHED, sep="\n")
    species = len(set(labels))
    print(f"\n{teach.sum()} boxes teach, {(~teach).sum()} are scored, {species} species (chance {1 / species:.2f})")
    print(f"found masks: at {found.mean():.0%} of centres, median Dice {np.nanmedian(agreement):.2f}")
    print(f"\nF1, by kDa\n{f1_table(results, labels[~teach], masses)}")
    print(f"\nthesis' orderings and ours\n{claims_table(results, labels[~teach], masses, found[~teach])}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
