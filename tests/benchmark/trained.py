"""Trainings of a benchmark's rows: one that is finished is not run again, and what it took stays known."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.models.checkpoint import find_weights, load_weights
from cryoembed.recipes.pretrain import PretrainConfig, pretrain
from cryoembed.recipes.training_run import WEIGHTS
from cryoembed.training.state import FILE_NAME as CHECKPOINT


def trained(config: PretrainConfig) -> float:
    """Train, or go on, unless that is done; return the CPU seconds of all its runs, NaN if one of them was killed.

    Ends the program where a run was interrupted: the same command goes on. Also where the weights that a finished run
    started from have changed since.
    """
    assert config.out is not None
    kept, record, weights = (config.out / name for name in ("cpu_s.json", "config.yaml", WEIGHTS))
    unknown = float("nan") if (config.out / CHECKPOINT).exists() else 0.0
    before = float(json.loads(kept.read_text())) if kept.exists() else unknown
    if weights.exists() and record.exists() and record.read_text() == config.to_yaml():
        origin = None if config.weights is None else load_weights(find_weights(config.weights)).model_hash
        if origin is not None and origin not in load_weights(weights).card.description:
            raise SystemExit(f"{config.out} was trained from other weights than {config.weights} are now: delete it")
        return before
    kept.unlink(missing_ok=True)  # a run that is killed leaves none
    start = sum(os.times()[:4])  # of this process, and of those that made phantoms once they have gone
    try:
        line = pretrain(config)
    except InputError:
        _keep(kept, before)  # nothing was run
        raise
    for child in multiprocessing.active_children():
        child.join()
    seconds = before + sum(os.times()[:4]) - start
    _keep(kept, seconds)
    if not weights.exists():
        raise SystemExit(line)
    print(line, flush=True)
    return seconds


def _keep(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(seconds))
