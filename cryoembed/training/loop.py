"""The steps of a training: gradients, what is skipped, when it is saved and when it stops."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cryoembed.errors import InputError
from cryoembed.training import processes, state
from cryoembed.training.average import WeightAverage
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Batch, Draw
from cryoembed.training.interruption import interruption
from cryoembed.training.log import TrainingLog
from cryoembed.training.memory import is_out_of_memory
from cryoembed.training.numerics import autocast
from cryoembed.training.schedule import learning_rate
from cryoembed.training.trouble import Streak, explained

logger = logging.getLogger(__name__)

TIMED_STEPS = 5  # of a run, before it says how long it will take


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    Attributes
    ----------
    steps
        Optimizer steps done, those of earlier runs included.
    stopped
        Whether it was interrupted before its last step.
    skipped_steps
        Steps left out because the loss or a gradient was not finite.
    metrics
        Last logged averages of what the objective returned.
    writes
        Whether this process is the one that writes files.
    """

    steps: int
    stopped: bool
    skipped_steps: int
    metrics: dict[str, float]
    writes: bool = True


class _Step(NamedTuple):
    values: dict[str, Tensor]
    finite: bool  # on all processes
    bad_loss: bool  # on any process
    bad_part: int | None  # on this one


@dataclass
class Loop:
    """One training, prepared; ``advice`` is what to say when memory runs out."""

    fabric: Any
    model: nn.Module
    objective: nn.Module
    optimizer: Any
    config: TrainConfig
    folder: Path
    progress: state.Progress
    average: WeightAverage | None
    draw: Draw
    advice: Callable[[], str]
    streak: Streak = field(default_factory=Streak)

    def run(self, batches: Iterator[Batch], advance: Callable[[float], None], stop_at: int) -> FitResult:
        """Do the steps that are left, up to ``stop_at``."""
        config, step, skipped = self.config, self.progress.step, self.progress.skipped_steps
        log = TrainingLog(self.folder / "log.jsonl", self.progress, config.log_every, active=self.fabric.is_global_zero)
        saved, begun, first, stop = self._saved_step(), time.perf_counter(), step, step >= stop_at
        with interruption() as asked:
            # no stop and no checkpoint amid bad steps: the last good one is worth more
            while step < config.steps and not (stop and not self.streak.skips):
                done = self._step(batches, step)
                self.streak.add(finite=done.finite, bad_loss=done.bad_loss)
                skipped += not done.finite
                step += 1
                if done.bad_loss:
                    self._tell(log, done, step, saved)
                elif self.streak.given_up:
                    raise InputError(
                        f"training diverged: {self.streak.skips} steps in a row without finite gradients; lower "
                        f"train.learning_rate or set train.precision=fp32 ({_kept(saved)})"
                    )
                if done.finite and self.average:
                    self.average.update(self.objective, step - skipped - 1)
                values = done.values if done.finite else None
                log.add(step, values, learning_rate(step - 1, config), skipped, last=step == config.steps)
                advance(1)
                if step - first == TIMED_STEPS and self.fabric.is_global_zero:
                    _tell_time((time.perf_counter() - begun) / TIMED_STEPS, config.steps - step)
                stop = step >= stop_at or processes.anywhere(self.fabric, asked())
                if step % config.checkpoint_every == 0 and step < config.steps and not (stop or self.streak.skips):
                    self._save(step, skipped, log)
                    saved = step
            self._save(step, skipped, log)
        stopped = step < config.steps
        if self.average and not stopped:
            self.objective.load_state_dict(self.average.state)
        return FitResult(step, stopped, skipped, log.latest, self.fabric.is_global_zero)

    def _running(self) -> Iterator[Tensor]:
        """Buffers that a step changes: those that are kept in checkpoints; tables of constants are not."""
        kept = self.objective.state_dict(keep_vars=True)
        return (buffer for name, buffer in self.objective.named_buffers() if name in kept)

    def _step(self, batches: Iterator[Batch], step: int) -> _Step:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config)
        running = list(self._running())
        before = [buffer.clone() for buffer in running]
        try:
            values, losses = self._gradients(batches)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(f"out of memory in step {step + 1}; what may fit: {self.advice()}") from None
        gradients = [p.grad for p in self.objective.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        bad = (~torch.isfinite(torch.stack(losses))).nonzero().flatten().tolist()
        bad_loss = processes.anywhere(self.fabric, bool(bad))
        finite = bool(torch.isfinite(norm)) and not bad_loss
        if finite:
            if self.config.gradient_clip:
                torch.nn.utils.clip_grads_with_norm_(self.objective.parameters(), self.config.gradient_clip, norm)
            self.optimizer.step()
        else:  # running statistics, too, are as if the step had not been
            with torch.no_grad():
                for buffer, kept in zip(running, before, strict=True):
                    buffer.copy_(kept)
        return _Step({**values, "gradient_norm": norm}, finite, bad_loss, bad[0] if bad else None)

    def _gradients(self, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Gradients of ``accumulate`` batches; what the objective returned for the last, and the losses of all."""
        self.optimizer.zero_grad(set_to_none=True)
        device, parts = self.fabric.device, self.config.accumulate
        values: dict[str, Tensor] = {}
        losses = []
        for part in range(parts):
            batch = to_device(next(batches), device)
            with self.fabric.no_backward_sync(self.model, enabled=part < parts - 1):
                with autocast(self.progress.number_format or "plain", device):
                    values = self.model(batch)
                loss = values["loss"].float()
                self.fabric.backward(loss / parts)
            losses.append(loss.detach())
        return values, losses

    def _tell(self, log: TrainingLog, done: _Step, step: int, saved: int | None) -> None:
        """Say which batch had no finite loss, and give up after a few in a row."""
        what = "the batch was another process's"
        if done.bad_part is not None:
            number = (step - 1) * self.config.accumulate + done.bad_part
            what = explained(done.values, self.draw, (self.config.seed, self.fabric.global_rank, number))
        if self.streak.given_up:
            raise InputError(
                f"training stopped at step {step}: the loss was not finite {self.streak.bad_losses} times in a row; "
                f"{what}; mend the data, or the training diverged: lower train.learning_rate or set "
                f"train.precision=fp32 ({_kept(saved)})"
            )
        log.warn(f"step {step} skipped, its loss is not finite; {what}")

    def _save(self, step: int, skipped: int, log: TrainingLog) -> None:
        progress = self.progress.model_copy(update={"step": step, "skipped_steps": skipped, **log.state()})
        random = processes.from_all(self.fabric, state.random_states(self.fabric.device, self.fabric.global_rank))
        if self.fabric.is_global_zero:
            inner = getattr(self.optimizer, "optimizer", self.optimizer)
            averaged = self.average.state if self.average else None
            state.save_state(
                self.folder / state.FILE_NAME, self.objective, inner, progress, averaged=averaged, random=random
            )
        self.fabric.barrier()

    def _saved_step(self) -> int | None:
        return self.progress.step if (self.folder / state.FILE_NAME).exists() else None


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch to where the network is."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _kept(saved: int | None) -> str:
    return "no checkpoint was written yet" if saved is None else f"the last good checkpoint, of step {saved}, is kept"


def _tell_time(seconds: float, left: int) -> None:
    minutes = seconds * left / 60
    togo = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.0f} minutes" if minutes >= 2 else "a moment"
    logger.info("%.2g s a step, about %s to go", seconds, togo)
