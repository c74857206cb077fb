"""What each option of the subtomogram encoder is worth: one setting changed at a time, all trained with one small budget.

    OMP_NUM_THREADS=1 python -m tests.benchmark.options ../shared/data                     # all rows; resumable
    OMP_NUM_THREADS=1 python -m tests.benchmark.options ../shared/data --only base shells --seeds 0 1 2

Rows are overrides of `BASE`, itself configs/pretrain_subtomogram_small.yaml cut down, with spectra left as they are; 64
boxes a step in every row (63 of triplets). Query by five examples for species of the validation split that no row has
seen, boxes at true centres (`unseen_species`): F1 and AP, at every SNR. So short a training ranks options early, not
the networks that come of them in the end, and rows differ by chance, too: ``--seeds`` (draws, phantoms, first weights)
shows by how much.

Not expressible, and so without a row: pairs (NT-Xent, SimSiam) with a share of structures or with boxes of nothing
(`structure_share` and nuisances are of classes), so that they see 19 structures among 319 species. Boxes are
embedded without masks, of the network trained with masks, too.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.evaluate.table import as_text
from cryoembed.io.atomic import replacing
from cryoembed.mining.query import QueryConfig
from cryoembed.models.checkpoint import find_weights, load_weights
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.pretrain import PretrainConfig
from cryoembed.recipes.training_run import WEIGHTS
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.few_shot import few_shot
from tests.benchmark.trained import trained
from tests.benchmark.unseen_species import SNRS, Boxes, boxes_of, dataset, encoder

Sets = Mapping[str, tuple[Boxes, npt.NDArray[np.str_]]]  # boxes and labels by SNR
CONFIG = CONFIGS / "pretrain_subtomogram_small.yaml"
EXAMPLES, DRAWS = 5, 10
BUNDLED = "subtomogram_small"
BASE = (
    "input.flatten=false", "data.flatten=false", "data.phantoms=300", "batch=16", "views=4",
    "train.steps=400", "train.warmup_steps=40", "train.learning_rate=0.002", "train.checkpoint_every=50",
)  # fmt: skip
# views as in configs/pretrain_simclr_small.yaml and pretrain_simsiam_small.yaml
PAIRS = (
    "proxies=false",
    "data.structure_share=null",
    "batch=32",
    "augment={mask_probability: 0, crop_probability: 0.8}",
)
NT_XENT = ("method=simclr", "temperature=0.2", *PAIRS)
SGD = ("train.optimizer=sgd", "train.learning_rate=0.05", "train.weight_decay=0.0001")
VIT = "{kind: vit, patch_vox: 8, encoder: {width: 144, depth: 4, heads: 4}, decoder: null, projector: true, "


@dataclass(frozen=True)
class Row:
    """What is changed in `BASE`; with ``after`` the weights of another row are where it starts."""

    text: str
    settings: tuple[str, ...] = ()
    after: str | None = None


ROWS = {
    "base": Row("supervised contrastive with proxies, convolutions and shells, a microscope for each view"),
    "no-proxies": Row("supervised contrastive without proxies", ("proxies=false",)),
    "untrained": Row(
        "random weights, their batch statistics alone learnt",
        ("train.steps=50", "train.warmup_steps=1", "train.learning_rate=1.0e-12", "train.weight_decay=0"),
    ),
    "long": Row("twice the steps", ("train.steps=800", "train.warmup_steps=80")),
    "convolutions": Row("no shells", ("network.shells=null",)),
    "fovea": Row("a second backbone, of the middle of the box", ("network.fovea={width: 16}",)),
    "shape": Row("vectors learn what the clean density is like, too", ("shape_dims=48",)),
    "fovea-shape": Row("both", ("network.fovea={width: 16}", "shape_dims=48")),
    "shells": Row("shells alone", ("network.backbone=null",)),
    "vit": Row(
        "vision transformer from random weights",  # configs/pretrain_mae_contrastive_small.yaml
        (f"network={VIT}embedding_dim: 128, box_vox: 32}}", "train.learning_rate=0.0005", "train.weight_decay=0.05"),
    ),
    "flatten": Row("spectra flattened", ("input.flatten=true", "data.flatten=true")),
    "no-clean": Row("no noise-free share", ("data.imaging.clean_probability=0",)),
    "no-neighbours": Row("no neighbours", ("data.neighbours=0",)),
    "masks": Row("masks: 40 % none, 30 % hull, 30 % strict", ("data.mask_shares={none: 0.4, hull: 0.3, strict: 0.3}",)),
    "rolling": Row("no proxies, a new phantom each step", ("proxies=false", "data.refresh_every=1")),
    "phantoms": Row("phantoms alone", ("structures=[]", "data.structure_share=null")),
    "structures": Row("structures alone", ("data.phantoms=2", "data.structure_share=1")),
    "nt-xent": Row("NT-Xent of two views", NT_XENT),
    "nt-xent-microscope": Row("NT-Xent, one microscope for both views", (*NT_XENT, "share=microscope")),
    "nt-xent-image": Row("NT-Xent, one image for both views", (*NT_XENT, "share=image")),
    "nt-xent-wedge": Row("NT-Xent, a second wedge in half of the views", (*NT_XENT, "augment.wedge_probability=0.5")),
    "simsiam": Row("SimSiam", ("method=simsiam", *PAIRS, *SGD)),
    "simsiam-contrastive": Row("SimSiam, then as base", after="simsiam"),
    "simsiam-refine": Row(
        "SimSiam, then the thesis' refinement (triplets)",
        ("method=refine", "proxies=false", "data.structure_share=null", "batch=21", "train.learning_rate=0.0005"),
        after="simsiam",
    ),
}
EVALUATED = {  # network, number of half turns averaged
    "base, 1 copy": ("base", 1),
    BUNDLED: (BUNDLED, 4),
    f"{BUNDLED}, 1 copy": (BUNDLED, 1),
}


@dataclass(frozen=True)
class Run:
    """What the rows of one table have in common; ``settings`` are laid over `BASE`, under a row's own."""

    out: Path
    structures: Path
    seed: int = 0
    settings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Of the trainings."""
        return self.out / f"seed_{self.seed}"

    def config(self, name: str) -> PretrainConfig:
        """The resolved settings of a row."""
        row = ROWS[name]
        given = [*BASE, f"train.seed={self.seed}", f"data.seed={self.seed + 1}", *self.settings, *row.settings]
        start = None if row.after is None else str(self.folder / row.after / WEIGHTS)
        flags = {"structure_folder": self.structures, "out": self.folder / name, "name": name, "weights": start}
        return load_config(PretrainConfig, CONFIG, given, flags=flags)


@lru_cache
def validation_sets(folder: Path, structures: Path, models: int, inputs: InputConfig) -> Sets:
    """Boxes and labels of the validation species, as `unseen_species` cuts them, at every SNR."""
    sets = {}
    for snr, value in SNRS.items():
        made = dataset(folder, structures, value, split="validation", models=models)
        boxes, labels, _ = boxes_of(made, "clean" if snr == "clean" else "reconstruction", inputs)
        print(f"snr_particle {snr}: {len(labels)} boxes, {len(np.unique(labels)) - 1} species", flush=True)
        sets[snr] = (boxes, labels)
    return sets


def scores(weights: str, sets_of: Callable[[InputConfig], Sets], out: Path, *, copies: int = 4) -> dict[str, str]:
    """F1 and AP by SNR as they are printed; kept in ``out`` by network, boxes and copies."""
    loaded = load_weights(find_weights(weights))
    sets = sets_of(loaded.card.input)
    boxes_hash = zlib.crc32(f"{EXAMPLES} {DRAWS} {QueryConfig()}".encode())
    for boxes, _ in sets.values():
        boxes_hash = zlib.crc32(boxes.data, boxes_hash)
    name = f"{loaded.model_hash}_{boxes_hash:08x}_{copies}.json"
    path = out / "scores" / name
    if path.exists():
        return dict(json.loads(path.read_text()))
    embed = encoder(weights, copies=copies).embed
    found: dict[str, str] = {}
    for snr, (boxes, labels) in sets.items():
        score = few_shot(embed(boxes), labels, examples=EXAMPLES, draws=DRAWS, seed=0)
        found |= {f"F1 {snr}": f"{score.mean_f1:.3f}", f"AP {snr}": f"{score.mean_ap:.3f}"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def line(name: str, sets_of: Callable[[InputConfig], Sets], run: Run) -> dict[str, str]:
    """One row of the table; what it needs is trained first."""
    if name in EVALUATED:
        network, copies = EVALUATED[name]
        weights = network if network == BUNDLED else str(run.folder / network / WEIGHTS)
        card = load_weights(find_weights(weights)).card
        seed = "-" if network == BUNDLED else str(run.seed)
        effort = {"row": name, "seed": seed, "steps": str(card.steps), "CPU s": "-"}
        text = "one orientation" if copies == 1 else f"{copies} half-turned copies averaged, as in all rows"
        return effort | scores(weights, sets_of, run.out, copies=copies) | {"what": text}
    row = ROWS[name]
    configs = [run.config(one) for one in (row.after, name) if one is not None]
    seconds = [trained(config) for config in configs]
    spent = " + ".join("?" if np.isnan(value) else f"{value:.0f}" for value in seconds)
    steps = " + ".join(str(config.train.steps) for config in configs)
    effort = {"row": name, "seed": str(run.seed), "steps": steps, "CPU s": spent}
    return effort | scores(str(run.folder / name / WEIGHTS), sets_of, run.out) | {"what": row.text}


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("--out", type=Path, default=Path("runs/options"))
    parser.add_argument("--data", type=Path, default=Path("runs/unseen_species"), help="folder of validation tomograms")
    parser.add_argument("--models", type=int, default=4, help="validation tomograms at each SNR")
    parser.add_argument("--only", nargs="+", choices=[*ROWS, *EVALUATED], default=[*ROWS, *EVALUATED], metavar="ROW")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="of all rows")
    asked = parser.parse_args(arguments)
    sets_of, rows = partial(validation_sets, asked.data, asked.structures, asked.models), []
    for seed in asked.seeds:
        run = Run(asked.out, asked.structures, seed, tuple(asked.settings))
        for name in asked.only:
            if seed != asked.seeds[0] and EVALUATED.get(name, ("", 0))[0] == BUNDLED:
                continue  # is the same for every seed
            rows.append(line(name, sets_of, run))
            print(rows[-1], flush=True)
    print(as_text(rows))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
