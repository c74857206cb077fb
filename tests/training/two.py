"""A training for two processes, as a script: ``python -m tests.training.two FOLDER NAME=VALUE ...``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit

SAMPLES = torch.from_numpy(np.random.default_rng(7).standard_normal((8, 1, 6, 6, 6), dtype=np.float32))


class Line(nn.Module):
    """No batch normalisation, so that a large batch equals several small ones; one parameter is never used."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        middle = nn.BatchNorm3d(3) if norm else nn.Identity()
        self.layers = nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), middle, nn.Dropout(0.2 * norm), nn.Conv3d(3, 1, 1))
        self.unused = nn.Linear(2, 2)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(self.layers(batch["input"]), batch["input"] * 2)}


def main(folder: Path, settings: dict[str, str]) -> None:
    share = int(settings.pop("share"))  # batches that make up one step, over all processes and parts
    norm = settings.pop("norm", "1") == "1"
    slow = float(settings.pop("slow", "0"))
    config = TrainConfig.model_validate({"precision": "fp32", "device": "cpu", "checkpoint_every": 2, **settings})
    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0"))))
    drawn = []

    def draw(generator: np.random.Generator, number: int) -> dict[str, Tensor]:
        drawn.append(float(generator.random()))
        if slow:
            time.sleep(slow)
        per = 4 // share
        first = ((number % config.accumulate) * (share // config.accumulate) + rank) * per
        return {"input": SAMPLES[first : first + per]}

    torch.manual_seed(config.seed)
    line = Line(norm=norm)
    fit(line, draw, config, folder=folder)
    weights = {name: value.flatten().tolist() for name, value in line.named_parameters()}
    (folder / f"rank_{rank}.json").write_text(json.dumps({"weights": weights, "drawn": drawn}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:]))
