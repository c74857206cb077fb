"""The learning rate as a pure function of the step: nothing to save, nothing to drift on resume."""

from __future__ import annotations

import math

from cryoembed.training.config import TrainConfig

ONE_CYCLE_START_FRACTION = 0.3
ONE_CYCLE_DIVIDER = 25.0
ONE_CYCLE_FINAL_DIVIDER = 1e4


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of optimizer step ``step`` (0-based).

    ``warmup_cosine`` rises linearly to the maximum in ``warmup_steps`` and falls as half a cosine to 0 (Loshchilov and
    Hutter 2017). ``one_cycle`` rises and falls by cosines from max/25 over max to max/250000, as ``OneCycleLR`` does
    by default (Smith and Topin 2019). Both are the thesis' schedules (CryoSiam, section 3.4).
    """
    if config.schedule == "warmup_cosine":
        return config.learning_rate * _warmup_cosine(step, config.steps, config.warmup_steps)
    if config.schedule == "one_cycle":
        return config.learning_rate * _one_cycle(step, config.steps, config.warmup_steps)
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))


def _warmup_cosine(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _one_cycle(step: int, steps: int, warmup: int) -> float:
    peak = (warmup or ONE_CYCLE_START_FRACTION * steps) - 1
    low, lowest = 1 / ONE_CYCLE_DIVIDER, 1 / (ONE_CYCLE_DIVIDER * ONE_CYCLE_FINAL_DIVIDER)
    if step <= peak:
        return _cosine_between(low, 1.0, step / peak if peak > 0 else 1.0)
    return _cosine_between(1.0, lowest, min(1.0, (step - peak) / max(1e-9, steps - 1 - peak)))


def _cosine_between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
