"""Seconds that training steps wait for endless data: ``python -m tests.benchmark.stream [--cores 1] [--steps 12]``.

For each shipped small config: fixed data drawn between steps, as the shipped weights were made; then rolling data (a new
scene or phantom every ``--every`` batches, made in a process), drawn between steps; then drawn ahead by a thread, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CASES = {
    "pretrain_dense_simsiam_small": (["data.scenes=4"], "crops, two views each"),
    "train_voxel_small": (["data.scenes=4", "stream=null", "data.refresh_every=0"], "crops"),
    "pretrain_contrastive_small": (["data.phantoms=64"], "boxes"),
}
SETTINGS = {
    "fixed": [],
    "rolling": ["data.refresh_every={every}", "train.workers=0"],
    "rolling, drawn ahead": ["data.refresh_every={every}", "train.workers=1"],
}
WARM_UP = 2  # steps


class Clock:
    """Splits the loop's time into steps and waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.stamps: list[float] = []

    def __call__(self, *arguments: Any, **settings: Any) -> Iterator[Any]:
        from cryoembed.training.draws import batches_ahead

        batches = batches_ahead(*arguments, **settings)
        try:
            while True:
                start = time.perf_counter()
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                now = time.perf_counter()
                self.waits.append(now - start)
                self.stamps.append(now)
                yield batch
        finally:
            self.stamps.append(time.perf_counter())
            batches.close()


def measure(name: str, overrides: list[str], steps: int) -> dict[str, float]:
    from cryoembed.config import load_config
    from cryoembed.recipes.pretrain import PretrainConfig, pretrain
    from cryoembed.recipes.train import TrainRecipeConfig, train
    from cryoembed.training import fit

    clock = Clock()
    fit.batches_ahead = clock  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as out:
        common = [f"train.steps={steps}", "train.warmup_steps=1", "train.device=cpu", f"out={out}/run", *overrides]
        if name.startswith("pretrain"):
            pretrain(load_config(PretrainConfig, CONFIGS / f"{name}.yaml", common))
        else:
            train(load_config(TrainRecipeConfig, CONFIGS / f"{name}.yaml", common))
    whole, waited = clock.stamps[steps - 1] - clock.stamps[WARM_UP - 1], sum(clock.waits[WARM_UP:])
    count = steps - WARM_UP
    return {"start_s": clock.waits[0], "step_s": whole / count, "wait_s": waited / count, "wait_share": waited / whole}


def draws_per_second(name: str, overrides: list[str], repeats: int = 5) -> float:
    """Crops or boxes that one core draws and images, when nothing else is to do."""
    import numpy as np
    import torch

    from cryoembed.config import load_config
    from cryoembed.recipes import pretrain as recipe
    from cryoembed.recipes.train import TrainRecipeConfig
    from cryoembed.recipes.training_data import scene_source
    from cryoembed.views.dense import draw_targets

    torch.set_num_threads(1)
    if name.startswith("pretrain"):
        config = load_config(recipe.PretrainConfig, CONFIGS / f"{name}.yaml", overrides)
        size = config.batch * (config.views if config.method == "contrastive" else 1)
        with recipe._drawing(config) as draw:
            return _rate(lambda generator: draw(generator, 0), size, repeats, np.random.default_rng(0))
    heads = load_config(TrainRecipeConfig, CONFIGS / f"{name}.yaml", overrides)
    with scene_source(heads.data, dataset=None, stream=None, structures=(), inputs=heads.input, composers=1) as scenes:
        return _rate(
            lambda generator: draw_targets(scenes.at(0), heads.data, generator, batch=heads.batch),
            heads.batch,
            repeats,
            np.random.default_rng(0),
        )


def _rate(draw: Any, size: int, repeats: int, generator: Any) -> float:
    draw(generator)
    start = time.perf_counter()
    for _ in range(repeats):
        draw(generator)
    return size * repeats / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--only", choices=CASES)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])  # processes made later inherit it
    import torch

    for name, (overrides, what) in CASES.items():
        if given.only not in (None, name):
            continue
        rate = draws_per_second(name, overrides)
        print(json.dumps({"config": name, f"{what} per s": round(rate, 1), "cores": 1}), flush=True)
        torch.set_num_threads(given.cores)
        for setting, more in SETTINGS.items():
            figures = measure(name, [*overrides, *(one.format(every=given.every) for one in more)], given.steps)
            rounded = {key: round(value, 3) for key, value in figures.items()}
            print(json.dumps({"config": name, "data": setting, "cores": given.cores, **rounded}), flush=True)


if __name__ == "__main__":
    main()
