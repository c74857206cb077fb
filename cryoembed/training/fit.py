"""The one training loop: any objective, any source of batches, one device or many.

What a step sees depends on (seed, rank, step) only, so that a resumed training equals an uninterrupted one.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cryoembed.errors import InputError
from cryoembed.training import state
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Batch, Draw, batches_ahead
from cryoembed.training.log import TrainingLog
from cryoembed.training.schedule import learning_rate

logger = logging.getLogger(__name__)

MOST_SKIPS_IN_A_ROW = 50


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
        Steps left out because a gradient was not finite.
    metrics
        Last logged averages of what the objective returned.
    """

    steps: int
    stopped: bool
    skipped_steps: int
    metrics: dict[str, float]


def fit(
    objective: nn.Module,
    draw: Draw,
    config: TrainConfig,
    *,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    advance: Callable[[float], None] | None = None,
    stop_after: int | None = None,
) -> FitResult:
    """Train ``objective`` in place and keep its state in ``folder``.

    Parameters
    ----------
    objective
        ``objective(batch)`` returns a dict of scalars with ``"loss"``, and optionally ``"embeddings"`` (n, d), which
        the collapse monitor watches.
    draw
        ``draw(generator, number)`` returns batch ``number``: a dict of CPU tensors.
    config
        Settings of the loop.
    folder
        ``checkpoint.safetensors`` in it is resumed; ``log.jsonl`` gets one line per ``config.log_every`` steps.
    settings
        Everything that shapes the result (the recipe's settings); a checkpoint made with others is refused.
    advance
        Called with the number of steps done, for a progress bar.
    stop_after
        Stop with a checkpoint once this many steps are done, as an interruption (SIGINT) would.

    Raises
    ------
    InputError
        If the checkpoint does not fit, or the training diverged.
    """
    fabric = _fabric(config)
    fabric.launch()
    folder.mkdir(parents=True, exist_ok=True)
    objective.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = _optimizer(objective, config)
    recorded = {"train": _shaping(config), "settings": dict(settings or {})}
    progress = state.Progress(settings=recorded)
    if (folder / state.FILE_NAME).exists():
        progress = state.load_state(folder / state.FILE_NAME, objective, optimizer, recorded)
        logger.info("resuming %s at step %d of %d", folder, progress.step, config.steps)
        if advance:
            advance(progress.step)
    model, optimizer = fabric.setup(objective, optimizer)
    loop = _Loop(fabric, model, objective, optimizer, config, folder, progress)
    return loop.run(draw, advance or (lambda _: None), stop_after)


def _shaping(config: TrainConfig) -> dict[str, Any]:
    """The settings that change the result: where it runs and how often it saves do not."""
    return config.model_dump(mode="json", exclude={"device", "workers", "composers", "checkpoint_every", "log_every"})


def _fabric(config: TrainConfig) -> Any:
    from lightning_fabric import Fabric  # 1.3 s: only who trains pays

    accelerator = {"cpu": "cpu", "auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(config.device, "cuda")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError(f"train.device is {config.device!r} but torch sees no CUDA device; use --device cpu")
    precision = "bf16-mixed" if _use_bf16(config.precision, accelerator) else "32-true"
    index = config.device.partition(":")[2]
    devices: Any = [int(index)] if index.isdigit() and config.devices == 1 else config.devices
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def _use_bf16(precision: str, accelerator: str) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and bool(torch.cpu._is_avx512_bf16_supported())


def _optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    # biases and normalisation weights are not decayed: they hold scale, not capacity
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@dataclass
class _Loop:
    fabric: Any
    model: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    folder: Path
    progress: state.Progress

    def run(self, draw: Draw, advance: Callable[[float], None], stop_after: int | None) -> FitResult:
        config, step, skipped, in_a_row = self.config, self.progress.step, self.progress.skipped_steps, 0
        log = TrainingLog(self.folder / "log.jsonl", self.progress, config.log_every, active=self.fabric.is_global_zero)
        last = min(config.steps, stop_after or config.steps)
        self.model.train()
        with _interruption() as interrupted:
            seeds = (
                (config.seed, self.fabric.global_rank, n)
                for n in range(step * config.accumulate, last * config.accumulate)
            )
            batches = batches_ahead(draw, seeds, workers=config.workers)
            while step < last and not interrupted():
                finite, values = self._step(batches, step)
                in_a_row = 0 if finite else in_a_row + 1
                skipped += not finite
                step += 1
                if in_a_row >= MOST_SKIPS_IN_A_ROW:
                    raise InputError(
                        f"training diverged: {in_a_row} steps in a row without finite gradients; "
                        "lower train.learning_rate or set train.precision=fp32"
                    )
                log.add(step, values, learning_rate(step - 1, config), skipped, last=step == config.steps)
                advance(1)
                if step % config.checkpoint_every == 0 and step < last:
                    self._save(step, skipped, log)
            batches.close()
        self._save(step, skipped, log)
        return FitResult(step, step < config.steps, skipped, log.latest)

    def _step(self, batches: Iterator[Batch], step: int) -> tuple[bool, dict[str, Tensor]]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        for part in range(self.config.accumulate):
            batch = _to_device(next(batches), self.fabric.device)
            with self.fabric.no_backward_sync(self.model, enabled=part < self.config.accumulate - 1):
                values = self.model(batch)
                self.fabric.backward(values["loss"] / self.config.accumulate)
        gradients = [p.grad for p in self.objective.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = bool(torch.isfinite(norm))
        if finite:
            if self.config.gradient_clip:
                torch.nn.utils.clip_grads_with_norm_(self.objective.parameters(), self.config.gradient_clip, norm)
            self.optimizer.step()
        return finite, {**values, "gradient_norm": norm}

    def _save(self, step: int, skipped: int, log: TrainingLog) -> None:
        progress = self.progress.model_copy(update={"step": step, "skipped_steps": skipped, **log.state()})
        if self.fabric.is_global_zero:
            inner = getattr(self.optimizer, "optimizer", self.optimizer)
            state.save_state(self.folder / state.FILE_NAME, self.objective, inner, progress)
        self.fabric.barrier()


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Yield a question: has Ctrl-C been pressed? The first asks for a checkpoint, the second stops at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def stop(*_: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        logger.warning("interrupted: writing a checkpoint (press again to stop at once)")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
