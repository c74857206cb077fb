"""JSON lines of a training: averages of the objective's scalars, its learning rate, and whether it has collapsed."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from cryoembed.io.atomic import replacing
from cryoembed.training.collapse import COLLAPSED_BELOW, embedding_spread
from cryoembed.training.state import Progress

logger = logging.getLogger(__name__)


class TrainingLog:
    """Averages over ``every`` steps; what awaits its line is part of the checkpoint, so a resume changes no line.

    Steps that were skipped are counted (``skipped``) but not averaged; a line after a warning has ``warnings``. With
    several processes the averages are those of the first one's batches.
    """

    def __init__(self, path: Path, progress: Progress, every: int, *, active: bool) -> None:
        self.path, self.every, self.active = path, every, active
        self.latest = dict(progress.metrics)
        self._sums, self._count, self._warnings = dict(progress.sums), progress.count, list(progress.warnings)
        self._since, self._timed = time.perf_counter(), 0
        self._collapsed = self.latest.get("spread", 1.0) < COLLAPSED_BELOW
        if active:  # lines after the checkpoint belong to steps that are done again
            lines = path.read_text().splitlines() if path.exists() else []
            with replacing(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines if _step_of(line) <= progress.step))

    def state(self) -> dict[str, Any]:
        """What `Progress` keeps of the log."""
        waiting = {"sums": dict(self._sums), "count": self._count, "warnings": list(self._warnings)}
        return {**waiting, "metrics": dict(self.latest)}

    def warn(self, text: str) -> None:
        """Tell the user, and keep it for the next line."""
        logger.warning("%s", text)
        self._warnings.append(text)

    def add(self, step: int, values: dict[str, Tensor] | None, rate: float, skipped: int, *, last: bool) -> None:
        """Take in what the objective returned at a step (counted from 1; None if skipped); write a line when due."""
        due = last or step % self.every == 0
        if values is not None:
            for name, value in values.items():
                if name != "embeddings":
                    self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
            self._count += 1
        self._timed += 1
        if not due:
            return
        spread = {"spread": self._watch(step, values["embeddings"])} if values and "embeddings" in values else {}
        if self._count:
            self.latest = {name: total / self._count for name, total in self._sums.items()} | spread
        speed = self._timed / (time.perf_counter() - self._since)
        counts: dict[str, Any] = {"learning_rate": rate, "skipped": skipped, "steps_per_s": speed}
        if self._warnings:
            counts["warnings"] = self._warnings
        self._write({"step": step, **(self.latest if self._count else {}), **counts})
        self._sums, self._count, self._warnings = {}, 0, []
        self._since, self._timed = time.perf_counter(), 0

    def _watch(self, step: int, embeddings: Tensor) -> float:
        spread = embedding_spread(embeddings)
        if spread < COLLAPSED_BELOW and not self._collapsed:
            self.warn(f"step {step}: embeddings have collapsed (spread {spread:.3f}, healthy is near 1)")
        self._collapsed = spread < COLLAPSED_BELOW
        return spread

    def _write(self, record: dict[str, Any]) -> None:
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
