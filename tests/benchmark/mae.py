"""What masked-autoencoder features are worth: five examples per class find the rest, on phantoms nobody has seen.

    cryoembed pretrain configs/pretrain_mae_small.yaml --out experiments/mae_small
    cryoembed pretrain configs/pretrain_mae_contrastive_small.yaml --out experiments/mae_contrastive_small
    python -m tests.benchmark.mae --mae experiments/mae_small --refined experiments/mae_contrastive_small

Boxes of phantoms of another seed than any training's, drawn as the trainings draw theirs, clean and at two
``snr_particle``. The mean of five vectors of each class is its prototype, every other box goes to the nearest: macro F1,
mean and s.d. over draws of the examples. ``raw`` compares vectors as they are, ``whitened`` in the space that `query`
learns from all boxes (without labels). Rows beside the two: the same transformer with random weights, the bundled
convolutional encoder, and no network at all (voxels averaged over blocks of 4).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score

from cryoembed.evaluate.table import as_text
from cryoembed.infer.vectors import embed_boxes
from cryoembed.mining.query import normalise
from cryoembed.mining.space import fit_space
from cryoembed.models.build import build
from cryoembed.models.checkpoint import bundled_weights, load_weights
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.embedding import load_encoder
from cryoembed.recipes.training_run import WEIGHTS
from cryoembed.views.imaging import ImagingRanges
from cryoembed.views.pool import SubtomogramConfig, build_pool
from cryoembed.views.subtomograms import draw_boxes
from tests.benchmark.unseen_species import Method

EXAMPLES, SEED = 5, 1000
SIGHTS = {
    "clean": ImagingRanges(clean_probability=1.0),
    "SNR 0.5": ImagingRanges(snr=(0.5, 0.5)),
    "SNR 0.1": ImagingRanges(snr=(0.1, 0.1)),
}


def probe_boxes(
    sight: ImagingRanges, *, classes: int, per_class: int, box_vox: int, flatten: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and class numbers, class by class; the phantoms are the same for every sight."""
    config = SubtomogramConfig(box_vox=box_vox, phantoms=classes, seed=SEED, imaging=sight, flatten=flatten)
    pool, generator = build_pool(config), np.random.default_rng(SEED)
    labels = np.tile(np.arange(classes), per_class)  # a batch shares microscopes and lends neighbours: mix the classes
    parts = [
        draw_boxes(pool, config, part, generator).numpy() for part in np.array_split(labels, -(-len(labels) // 64))
    ]
    return np.concatenate(parts), labels


def five_shot_f1(vectors: np.ndarray, labels: np.ndarray, *, repeats: int) -> np.ndarray:
    """(repeats,) macro F1 of the nearest prototype for boxes that are no examples."""
    generator, scores = np.random.default_rng(0), []
    classes = np.unique(labels)
    for _ in range(repeats):
        chosen = np.stack([generator.permutation(np.flatnonzero(labels == one))[:EXAMPLES] for one in classes])
        prototypes = normalise(vectors[chosen].mean(axis=1))
        rest = np.setdiff1d(np.arange(len(labels)), chosen)
        found = classes[(vectors[rest] @ prototypes.T).argmax(axis=1)]
        scores.append(f1_score(labels[rest], found, average="macro"))
    return np.array(scores)


def block_means(boxes: np.ndarray) -> np.ndarray:
    """Voxels averaged over blocks of 4, normalised: what a box is worth without a network."""
    coarse = torch.nn.functional.avg_pool3d(torch.from_numpy(boxes)[:, None], 4).flatten(1).numpy()
    return normalise(coarse - coarse.mean(axis=1, keepdims=True))


def untrained(trained: SubtomogramEncoder) -> SubtomogramEncoder:
    """The same network with random weights."""
    torch.manual_seed(SEED)
    return build(trained.config).eval()


def table(methods: dict[str, Method], *, classes: int, per_class: int, box_vox: int, repeats: int) -> str:
    """One row per method; cells are mean and s.d. of F1, raw and whitened."""
    rows: dict[str, dict[str, str]] = {name: {"vectors": name} for name in methods}
    for sight, ranges in SIGHTS.items():
        sizes = {"classes": classes, "per_class": per_class, "box_vox": box_vox}
        drawn = {
            flatten: probe_boxes(ranges, **sizes, flatten=flatten)
            for flatten in {method.inputs.flatten for method in methods.values()}
        }
        for name, method in methods.items():
            boxes, labels = drawn[method.inputs.flatten]
            vectors = method.embed(boxes)
            for space in ("raw", "whitened"):
                scores = five_shot_f1(fit_space([vectors], kind=space).apply(vectors), labels, repeats=repeats)
                rows[name][f"{sight} {space}"] = f"{scores.mean():.3f} ± {scores.std():.3f}"
    return as_text(list(rows.values()))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mae", type=Path, required=True, help="folder of the pretraining")
    parser.add_argument("--refined", type=Path, nargs="*", default=[], help="folders of trainings that went on")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args(arguments)
    mae = load_encoder(str(chosen.mae / WEIGHTS))
    loaded = [mae, *(load_encoder(str(folder / WEIGHTS)) for folder in chosen.refined)]
    networks = {f"{one.card.name}, {one.card.steps} steps": (one.card.input, one.module) for one in loaded}
    networks = {"transformer, random weights": (mae.card.input, untrained(mae.module))} | networks
    box_vox = mae.module.config.box_vox
    bundled = load_weights(bundled_weights("subtomogram_small"))
    if bundled.card.network.box_vox == box_vox:
        networks["subtomogram_small (bundled)"] = bundled.card.input, bundled.module
    methods = {"voxels in blocks of 4": Method(InputConfig(), block_means)}
    for name, (inputs, network) in networks.items():
        methods[name] = Method(inputs, partial(embed_boxes, network, batch=64))
    sizes = {"classes": chosen.classes, "per_class": chosen.per_class, "repeats": chosen.repeats}
    print(
        f"macro F1 of the nearest of {chosen.classes} prototypes of {EXAMPLES} examples (chance "
        f"{1 / chosen.classes:.2f}), {chosen.per_class - EXAMPLES} other boxes of each unseen phantom"
    )
    print(table(methods, box_vox=box_vox, **sizes))


if __name__ == "__main__":
    main()
