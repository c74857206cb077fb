"""The thesis' tables 1 to 5 at reduced scale: what transformations, masking, sizes and losses do to voxel embeddings.

    python -m tests.benchmark.dense_ablations ../shared/data
    python -m tests.benchmark.dense_ablations ../shared/data --only base mask_50 voxel_8

Every row is a DenseSimSiam of its own: configs/pretrain_dense_ablations.yaml with one thing changed (`ROWS`; ``base`` and
``noise`` stand in several tables). It is frozen, and a perceptron of three layers on single voxel embeddings (the thesis'
CNN of 1^3 kernels) learns the classes from the samples of the pretraining. Dice on other samples, of the same
structures and new phantoms; "all" is the mean over samples of the mean over the classes that a sample has. All of it on
clean densities, as in the thesis (section 4.1). Finished rows are not run again.

What the thesis leaves open: a table's other settings (its best rows differ from table to table). Here tables 1 and 2 are
without masking unless it is the row's, tables 3 to 5 with the base's; masking of p % takes p % of every view; L4 is
L2 + L4, L8 is L2 + L4 + L8 (section 4.2: the number of levels). One seed per row, as theirs: small differences are none.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from cryoembed.config import load_config
from cryoembed.evaluate.table import as_text
from cryoembed.infer.voxels import predict_volume
from cryoembed.io.atomic import replacing
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.pretrain import PretrainConfig
from cryoembed.recipes.training_run import WEIGHTS
from cryoembed.simulate.dataset import shared_templates, simulate_sample
from cryoembed.tomogram import Tomogram
from cryoembed.views.stream import endless
from cryoembed.views.targets import semantic_classes
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.dense_ablation_rows import COLUMNS, FLOORS, PUBLISHED_BUDGET, ROWS, SAMPLES, TABLES, UNTRAINED
from tests.benchmark.trained import trained
from tests.benchmark.voxel_probe import Embed, ProbeSettings, Sample, Volume, score

Samples = tuple[list[Sample], list[Sample]]  # of the pretraining, and for Dice
TEST = 3  # samples; numbered after those of the pretraining


def row_config(name: str, structures: Path, out: Path, settings: Iterable[str] = ()) -> PretrainConfig:
    """The pretraining of a row; ``settings`` are for all rows."""
    flags = {"stream": CONFIGS / "simulate_voxel_training.yaml", "out": out / name, "name": f"dense_ablations_{name}"}
    overrides = [*SAMPLES, f"stream.structure_folder={structures.absolute()}", *settings, *ROWS.get(name, ())]
    return load_config(PretrainConfig, CONFIGS / "pretrain_dense_ablations.yaml", overrides, flags=flags)


def samples(config: PretrainConfig) -> Samples:
    """The samples that the pretraining sees, and `TEST` others."""
    stream = endless(config.stream)
    shared, made = shared_templates(stream), []
    for index in range(config.data.scenes + TEST):
        scene = simulate_sample(stream, index, shared, split="train")
        whole = Tomogram(scene.density, stream.voxel_size, f"sample {index}")
        volume = prepare(whole, config.input, contrast="bright").tomogram.data
        made.append(Sample(volume, semantic_classes(scene.class_mask, scene.classes)))
    return made[:-TEST], made[-TEST:]


def voxel_features(volume: Volume) -> npt.NDArray[np.float32]:
    """What a voxel is worth without a network: its value, and the mean of the 5^3 voxels around it."""
    return np.stack([volume, ndimage.uniform_filter(volume, 5)])


def embedding_of(network: VoxelNetwork, device: str) -> Embed:
    """Voxel embeddings by a frozen network."""
    return lambda volume: predict_volume(network, volume, outputs=["embedding"], device=device)["embedding"]


def run_row(
    name: str, config: PretrainConfig, settings: ProbeSettings, made: Callable[[], Samples]
) -> dict[str, float]:
    """Dice by class, and ``cpu_s`` unless the row was interrupted; read from its folder where it is finished."""
    record = config.out / "dice.json"
    asked = {"pretrain": config.model_dump(mode="json", exclude={"out"}), "probe": settings._asdict()}
    if record.is_file() and (found := json.loads(record.read_text()))["asked"] == json.loads(json.dumps(asked)):
        return found["row"]
    training, test = made()
    embed: Embed = voxel_features
    seconds = 0.0
    if name == UNTRAINED:
        torch.manual_seed(config.train.seed)
        embed = embedding_of(build(config.network).eval(), config.train.device)
    elif name not in FLOORS:
        seconds = trained(config)
        embed = embedding_of(load_weights(config.out / WEIGHTS).module, config.train.device)
    started = time.process_time()
    row = score(embed, training, test, settings)
    seconds += time.process_time() - started
    if not np.isnan(seconds):
        row["cpu_s"] = seconds
    record.parent.mkdir(parents=True, exist_ok=True)
    with replacing(record) as path:
        path.write_text(json.dumps({"asked": asked, "row": row}, indent=1) + "\n")
    return row


def table(rows: dict[str, dict[str, float]], lines: dict[str, tuple[str, tuple[float, ...]]]) -> str:
    """One line per setting that was run: ours, the thesis' in brackets."""
    texts = []
    for label, (name, published) in [*lines.items(), *((floor, (floor, ())) for floor in FLOORS)]:
        if name not in rows:
            continue
        text = {"": label}
        for number, column in enumerate(COLUMNS):
            ours = f"{rows[name][column]:.3f}" if column in rows[name] else "-"
            text[column] = f"{ours} ({published[number]:.3f})" if published else ours
        text["CPU s"] = f"{rows[name]['cpu_s']:.0f}" if "cpu_s" in rows[name] else "-"
        texts.append(text)
    return as_text(texts)


def budget(config: PretrainConfig, settings: ProbeSettings) -> str:
    """Ours beside the thesis'."""
    network, data, shape = config.network, config.data, " x ".join(map(str, config.stream.shape))
    return (
        f"ours: ResNet-{2 + 2 * sum(network.backbone.blocks[:4])} of width {network.backbone.width}, pyramid "
        f"{network.pyramid_channels}; {data.scenes} samples of {shape} voxels, {config.train.steps} steps of "
        f"{config.batch} pairs of windows of {config.window_vox}^3; head of {settings.steps} steps on {data.scenes} x "
        f"{settings.voxels:,} voxels, Dice on {TEST} samples\nthesis: {PUBLISHED_BUDGET}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the rows that are not finished, then print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("--out", type=Path, default=Path("runs/dense_ablations"))
    names = [*FLOORS, *ROWS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--probe-steps", type=int, default=ProbeSettings().steps)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="of all rows")
    asked = parser.parse_args(arguments)
    settings = ProbeSettings(steps=asked.probe_steps)
    base = row_config("base", asked.structures, asked.out, asked.settings)
    made = cache(lambda: samples(base))  # when the first unfinished row needs them
    rows: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys([*FLOORS, *asked.only]):
        config = row_config(name, asked.structures, asked.out, asked.settings)
        rows[name] = run_row(name, config, settings, made)
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    print(f"\nDice on clean samples, the thesis' in brackets\n{budget(base, settings)}")
    for title, lines in TABLES.items():
        if any(name in rows for name, _ in lines.values()):
            print(f"\n{title}\n{table(rows, lines)}", flush=True)


if __name__ == "__main__":
    main()
