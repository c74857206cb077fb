"""The thesis' tables 6 and 7 at reduced scale: classes and instances on clean, noisy and denoised tomograms.

    python -m tests.benchmark.voxel_heads                                       # bundled weights, phantoms only
    python -m tests.benchmark.voxel_heads --weights experiments/voxel_small/weights.safetensors --folder ../shared/data
    python -m tests.benchmark.voxel_heads --tomograms 4 --shape 96 256 256

Tomograms of configs/simulate_voxel_training.yaml with another seed, imaged tilt by tilt (trainings see a faster
microscope): all their phantoms are new. Without ``--folder`` they hold no structures, and so no membrane proteins.
``clean`` is the density itself, ``noisy`` the reconstruction, ``denoised`` what the network's own denoising head makes of
it. Figures are means over tomograms, a class counts where it occurs.

Not like for like. Thesis: a network of its own for each kind of input, 512 x 512 tomograms of 63 to 100 nm, 25,600 crops
of 128^3 and 600 epochs, 130 species of 10 kDa to 4.5 MDa. Ours: one small network for all three, tomograms of the size
given here, phantoms of 60 kDa to 4 MDa; its steps and data are on the model card, printed first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryoembed.config import load_config
from cryoembed.evaluate.segmentation import AP_THRESHOLDS, dice, mean_precision, score_instances
from cryoembed.evaluate.table import as_text
from cryoembed.instances.config import InstanceConfig
from cryoembed.models.checkpoint import LoadedModel
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.recipes.find_instances import find_instances, load_voxel_model
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES
from cryoembed.simulate.dataset import shared_templates, simulate_model
from cryoembed.tomogram import Tomogram
from cryoembed.views.targets import semantic_classes

CONFIG = Path(__file__).parents[2] / "configs" / "simulate_voxel_training.yaml"
INPUTS = ("clean", "noisy", "denoised")
SEED = 9400  # no training's
PUBLISHED_DICE = {  # table 6; "dna" is its "dna filaments"
    "background": (0.944, 0.894, 0.896),
    "membrane": (0.778, 0.639, 0.671),
    "microtubule": (0.874, 0.754, 0.793),
    "particle": (0.822, 0.619, 0.636),
    "actin": (0.788, 0.280, 0.342),
    "dna": (0.703, 0.332, 0.350),
    "all": (0.836, 0.635, 0.664),
}
PUBLISHED_AP = {  # table 7
    0.50: (0.437, 0.229, 0.249),
    0.55: (0.417, 0.180, 0.196),
    0.60: (0.393, 0.121, 0.133),
    0.65: (0.346, 0.063, 0.071),
    0.70: (0.241, 0.020, 0.024),
    0.75: (0.099, 0.003, 0.003),
    0.80: (0.016, 0.000, 0.000),
}
Scores = dict[str, list[float]]  # one value per tomogram


@dataclass(frozen=True, eq=False)
class Truth:
    """One simulated tomogram: what it is of, and how it looks."""

    classes: np.ndarray
    instances: np.ndarray
    clean: Tomogram
    noisy: Tomogram


def simulated(settings: SimulateConfig) -> list[Truth]:
    """All tomograms of the settings, in memory."""
    shared, made = shared_templates(settings), []
    for index in range(settings.models):
        scene, imaged = simulate_model(settings, index, shared)
        sign = 1.0 if settings.imaging.contrast == "bright" else -1.0
        name, size = f"model_{index}", settings.voxel_size
        made.append(
            Truth(
                semantic_classes(scene.class_mask, scene.classes),
                np.where(scene.macromolecule_mask(), scene.occupancy_mask, 0),
                Tomogram(data=scene.density, voxel_size=size, name=name),
                Tomogram(data=(sign * imaged.reconstruction).astype(np.float32), voxel_size=size, name=name),
            )
        )
    return made


def measure(model: LoadedModel, truths: Sequence[Truth], **settings: Any) -> dict[str, Scores]:
    """Dice by class and precision by IoU threshold (and their mean, "AP"), for each kind of input."""
    assert isinstance(model.module, VoxelNetwork)
    heads = model.module.config.heads
    scores: dict[str, Scores] = {kind: {} for kind in INPUTS}
    for truth in truths:
        images: dict[str, Tomogram] = {"clean": truth.clean, "noisy": truth.noisy}
        for kind in INPUTS:
            if kind not in images:
                continue  # without a denoising head
            further = [name for name in ("denoise", "semantic") if name in heads]
            found = find_instances(
                images[kind], model, InstanceConfig(), contrast="bright", further_maps=further, **settings
            )
            if kind == "noisy" and "denoise" in heads:
                frame = found.prepared.tomogram
                images["denoised"] = Tomogram(data=found.maps["denoise"], voxel_size=frame.voxel_size, name=frame.name)
            if "semantic" in heads:
                _add(scores[kind], class_scores(found.maps["semantic"].argmax(axis=0), truth.classes))
            _add(scores[kind], instance_scores(found.labels, truth.instances))
    return scores


def class_scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice (equation 19) of the classes that occur, and their mean; gold counts neither way."""
    known = truth < IGNORED
    found, truth = found[known], truth[known]
    values = {
        name: dice(found == number, truth == number)
        for number, name in enumerate(SEMANTIC_CLASSES)
        if (truth == number).any()
    }
    return values | {"all": float(np.mean(list(values.values())))}


def instance_scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Equation 21 by threshold, and equation 22."""
    at = score_instances(found, truth, thresholds=AP_THRESHOLDS)
    return {_ap(score.threshold): score.average_precision for score in at} | {"AP": mean_precision(at)}


def table(scores: dict[str, Scores], published: dict[str, tuple[float, ...]]) -> str:
    """Ours beside the thesis' in the order of theirs."""
    rows = []
    for name, theirs in published.items():
        row = {"": name}
        for kind, value in zip(INPUTS, theirs, strict=True):
            ours = scores[kind].get(name)
            row |= {kind: f"{np.mean(ours):.3f}" if ours else "-", f"thesis {kind}": f"{value:.3f}"}
        rows.append(row)
    return as_text(rows)


def _add(scores: Scores, values: dict[str, float]) -> None:
    for name, value in values.items():
        scores.setdefault(name, []).append(value)


def _ap(threshold: float) -> str:
    return f"AP-{round(100 * threshold)}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="voxel_small")
    parser.add_argument("--folder", type=Path, help="of structures and maps")
    parser.add_argument("--tomograms", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 128, 128))
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    given = parser.parse_args()
    settings = [f"models={given.tomograms}", "validation=0", f"shape={list(given.shape)}", f"seed={SEED}"]
    # as much of the depth as in the config, at its 10 A per voxel
    settings += [f"envelope.thickness_nm=[{0.47 * given.shape[0]:.0f}, {0.88 * given.shape[0]:.0f}]"]
    settings += [f"structure_folder={given.folder}"] if given.folder else ["structures=[]"]
    started = time.perf_counter()
    model = load_voxel_model(given.weights)
    card = model.card
    print(f"{card.name} ({model.model_hash}), {card.steps} steps: {card.training_data}")
    truths = simulated(load_config(SimulateConfig, CONFIG, [*settings, *given.settings], flags={"out": Path()}))
    scores = measure(model, truths)
    print(f"{given.tomograms} tomograms of {' x '.join(map(str, given.shape))} voxels\n")
    if "all" in scores["noisy"]:
        print(f"Dice (thesis, table 6)\n{table(scores, PUBLISHED_DICE)}\n")
    else:
        print("Dice (thesis, table 6): these weights have no semantic head\n")
    by_name = {_ap(threshold): values for threshold, values in PUBLISHED_AP.items()}
    mean = tuple(float(np.mean(column)) for column in zip(*PUBLISHED_AP.values(), strict=True))
    print(f"AP at IoU 0.5 to 0.8 (thesis, table 7; AP is their mean)\n{table(scores, {**by_name, 'AP': mean})}\n")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
