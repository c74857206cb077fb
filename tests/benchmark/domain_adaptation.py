"""Going on with real, unlabelled data in the batch or without: what it gives on that tomogram, and costs elsewhere.

    OMP_NUM_THREADS=1 python -m tests.benchmark.domain_adaptation ../shared/data ../shared/data/tomograms/emp10499

The bundled encoder is trained for some hundred steps more on the simulated boxes it comes from
(configs/pretrain_subtomogram_small.yaml): ``simulated`` on those alone, ``real`` with pairs of boxes of the 10 A crop of
EMPIAR-10499 00254 in a quarter of each batch (`RealConfig`, its defaults), ``halves`` with pairs of which one view is of
the even and one of the odd tilts. Resumable. Measured on the same crop by `emp10499`'s query with five ribosomes,
the likeliest ones and ten draws of any, by how far the best hits of both halves agree (`emp10499_halves`), and on
simulated validation species (`unseen_species`).

Transductive: the tomogram of the training is that of the measurement, as it is when a user adapts to data of his own.
Its pseudo-labels, of template matching and unverified, serve as examples and yardstick and are never trained on. The
agreement of halves says little of ``halves``, which was trained to make them agree.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.evaluate.table import as_text
from cryoembed.io import read_tomogram
from cryoembed.models.checkpoint import find_weights, load_weights
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.pretrain import PretrainConfig
from cryoembed.recipes.training_run import WEIGHTS
from tests.benchmark.emp10499 import VOLUMES, ask, choose_examples, labels_in
from tests.benchmark.emp10499_halves import agreement, halves, hits_of
from tests.benchmark.options import BUNDLED, CONFIG, scores, validation_sets
from tests.benchmark.trained import trained

VOLUME = "00254_10A_crop"
FINDER = "voxel_small"
DRAWS = 10  # of five examples among the likely ribosomes
BEST = (50, 100)  # hits of each half
UNCHANGED, ROWS = "unchanged", ("simulated", "real", "halves")


def config_of(
    name: str,
    out: Path,
    structures: Path,
    real: dict[str, Any] | None,
    *,
    steps: int = 300,
    learning_rate: float = 5e-4,
    seed: int = 0,
    settings: tuple[str, ...] = (),
) -> PretrainConfig:
    """The resolved settings of a training: the phantoms and structures of the bundled network, other draws of them."""
    train = {"steps": steps, "warmup_steps": steps // 10, "learning_rate": learning_rate, "seed": seed + 100}
    flags = {"structure_folder": structures, "out": out, "name": name, "weights": BUNDLED, "real": real}
    flags |= {f"train.{key}": value for key, value in train.items()}
    # proxies are not kept with weights, and new ones would disturb the network for hundreds of steps
    return load_config(PretrainConfig, CONFIG, ["train.checkpoint_every=50", "proxies=false", *settings], flags=flags)


def real_data(name: str, folder: Path, out: Path) -> dict[str, Any] | None:
    """Settings of `RealConfig` that a row trains with."""
    if name == "real":
        return {"tomograms": [str(folder / f"{VOLUME}.mrc")]}
    return {"halves": [[str(path) for path in halves(folder, out)]]} if name == "halves" else None


def on_real(weights: str, folder: Path, out: Path, *, finder: str = FINDER, draws: int = DRAWS) -> dict[str, str]:
    """The query of the crop as `emp10499` scores it, with its own examples and with drawn ones."""
    origin, path = VOLUMES[VOLUME], folder / f"{VOLUME}.mrc"
    run = _folder_of(weights, out)
    store = run / "store"
    print(
        index(
            IndexConfig(
                tomograms=(path,), out=store, origin=origin, voxel_weights=finder, subtomogram_weights=weights
            )
        )
    )  # fmt: skip
    volume = read_tomogram(path, origin=origin)
    labels = labels_in(folder, volume)
    _, figures = ask(store, choose_examples(labels, volume), labels, run / "likeliest")
    generator, drawn = np.random.default_rng(0), []
    for draw in range(draws):  # the same examples for every network
        drawn.append(ask(store, choose_examples(labels, volume, generator), labels, run / f"draw_{draw}")[1])
    row = {"AP": f"{figures['average precision']:.3f}", "recall": f"{figures['recall of likely']:.3f}"}
    for short, name in (("AP", "average precision"), ("recall", "recall of likely")):
        values = np.array([one[name] for one in drawn], dtype=float)
        row[f"{short}, drawn"] = f"{values.mean():.3f} ± {values.std():.3f}"
    return row | {"all instances": f"{figures['recall of likely, all instances']:.3f}"}


def between_halves(weights: str, folder: Path, out: Path, *, finder: str = FINDER) -> dict[str, str]:
    """F1 between the best hits of the crop's even and of its odd tilts, the likeliest examples left out."""
    crop = read_tomogram(folder / f"{VOLUME}.mrc", origin=VOLUMES[VOLUME])
    examples = choose_examples(labels_in(folder, crop), crop)
    run = _folder_of(weights, out)
    hits = [hits_of(path, examples, run, finder, weights)[0] for path in halves(folder, out)]
    best = {count: [one.select(np.arange(min(count, len(one)))) for one in hits] for count in BEST}
    return {f"agree, best {count}": f"{agreement(*pair):.3f}" for count, pair in best.items()}


def _folder_of(weights: str, out: Path) -> Path:
    folder = out / "measured" / load_weights(find_weights(weights)).model_hash
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("folder", type=Path, help="of EMPIAR-10499")
    parser.add_argument("--out", type=Path, default=Path("runs/domain_adaptation"))
    parser.add_argument("--data", type=Path, default=Path("runs/unseen_species"), help="folder of validation tomograms")
    parser.add_argument("--models", type=int, default=4, help="validation tomograms at each SNR")
    parser.add_argument("--only", nargs="+", choices=[UNCHANGED, *ROWS], default=[UNCHANGED, *ROWS], metavar="ROW")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="of trainings")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    sets_of = partial(validation_sets, asked.data, asked.structures, asked.models)
    real_rows, simulated_rows = [], []
    for name, seed in [(name, seed) for name in asked.only for seed in asked.seeds]:
        weights, effort = BUNDLED, {"row": name, "seed": "-", "steps": "0", "CPU s": "0"}
        if name == UNCHANGED and seed != asked.seeds[0]:
            continue
        if name != UNCHANGED:
            more = {"steps": asked.steps, "learning_rate": asked.learning_rate, "settings": tuple(asked.settings)}
            real = real_data(name, asked.folder, asked.out)
            out = asked.out / f"seed_{seed}" / name
            seconds = trained(config_of(name, out, asked.structures, real, seed=seed, **more))
            weights = str(out / WEIGHTS)
            effort = {"row": name, "seed": str(seed), "steps": str(asked.steps), "CPU s": f"{seconds:.0f}"}
        found = on_real(weights, asked.folder, asked.out) | between_halves(weights, asked.folder, asked.out)
        real_rows.append(effort | found)
        simulated_rows.append(effort | scores(weights, sets_of, asked.out))
        print(real_rows[-1], simulated_rows[-1], flush=True)
    print(f"\nthe real crop, against pseudo-labels\n{as_text(real_rows)}")
    print(f"\nsimulated validation species, five examples\n{as_text(simulated_rows)}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
