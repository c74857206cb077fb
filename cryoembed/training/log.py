"""JSON lines of a training: averages of the objective's scalars, its learning rate, and whether it has collapsed."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from cryoembed.training.collapse import COLLAPSED_BELOW, embedding_spread
from cryoembed.training.state import Progress

logger = logging.getLogger(__name__)


class TrainingLog:
    """Averages over ``every`` steps; what awaits its line is part of the checkpoint, so a resume changes no line."""

    def __init__(self, path: Path, progress: Progress, every: int, *, active: bool) -> None:
        self.path, self.every, self.active = path, every, active
        self.latest = dict(progress.metrics)
        self._sums, self._count = dict(progress.sums), progress.count
        self._since, self._timed, self._collapsed = time.perf_counter(), 0, False
        if active:  # lines after the checkpoint belong to steps that are done again
            lines = path.read_text().splitlines() if path.exists() else []
            path.write_text("".join(f"{line}\n" for line in lines if _step_of(line) <= progress.step))

    def state(self) -> dict[str, Any]:
        """What `Progress` keeps of the log."""
        return {"sums": dict(self._sums), "count": self._count, "metrics": dict(self.latest)}

    def add(self, step: int, values: dict[str, Tensor], rate: float, skipped: int, *, last: bool) -> None:
        """Take in what the objective returned at a step (counted from 1); write a line when one is due."""
        due = last or step % self.every == 0
        spread = {"spread": self._watch(step, values["embeddings"])} if due and "embeddings" in values else {}
        for name, value in values.items():
            if name != "embeddings":
                self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count, self._timed = self._count + 1, self._timed + 1
        if not due:
            return
        self.latest = {name: total / self._count for name, total in self._sums.items()} | spread
        speed = self._timed / (time.perf_counter() - self._since)
        self._write({"step": step, **self.latest, "learning_rate": rate, "skipped": skipped, "steps_per_s": speed})
        self._sums, self._count, self._since, self._timed = {}, 0, time.perf_counter(), 0

    def _watch(self, step: int, embeddings: Tensor) -> float:
        spread = embedding_spread(embeddings)
        if spread < COLLAPSED_BELOW and not self._collapsed:
            logger.warning("step %d: embeddings have collapsed (spread %.3f, healthy is near 1)", step, spread)
        self._collapsed = spread < COLLAPSED_BELOW
        return spread

    def _write(self, record: dict[str, float]) -> None:
        if self.active:
            rounded = {
                name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in record.items()
            }
            with self.path.open("a") as stream:
                stream.write(json.dumps(rounded) + "\n")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut short by a kill is dropped
