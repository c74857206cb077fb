"""Trainings of a benchmark's rows: one that is finished is not run again, and what it took stays known."""

from __future__ import annotations

import json
import multiprocessing
import os

from cryoembed.io.atomic import replacing
from cryoembed.recipes.pretrain import PretrainConfig, pretrain
from cryoembed.recipes.training_run import WEIGHTS
from cryoembed.training.state import FILE_NAME as CHECKPOINT


def trained(config: PretrainConfig) -> float:
    """Train, or go on, unless that is done; return the CPU seconds of all its runs, NaN if one of them was killed.

    Ends the program where a run was interrupted: the same command goes on.
    """
    assert config.out is not None
    kept, record, weights = (config.out / name for name in ("cpu_s.json", "config.yaml", WEIGHTS))
    unknown = float("nan") if (config.out / CHECKPOINT).exists() else 0.0
    before = float(json.loads(kept.read_text())) if kept.exists() else unknown
    if weights.exists() and record.exists() and record.read_text() == config.to_yaml():
        return before
    kept.unlink(missing_ok=True)  # a run that is killed leaves none
    start = sum(os.times()[:4])  # of this process, and of those that made phantoms once they have gone
    line = pretrain(config)
    for child in multiprocessing.active_children():
        child.join()
    seconds = before + sum(os.times()[:4]) - start
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(seconds))
    if not weights.exists():
        raise SystemExit(line)
    print(line, flush=True)
    return seconds
