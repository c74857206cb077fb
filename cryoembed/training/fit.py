"""Trainings from the first look to the last checkpoint: processes, resume, number format and memory, then the loop."""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cryoembed.errors import InputError
from cryoembed.training import memory, numerics, processes, state
from cryoembed.training.allocator import keep_freed_memory
from cryoembed.training.average import WeightAverage
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Batch, Draw, batches_ahead
from cryoembed.training.loop import FitResult, Loop, to_device

logger = logging.getLogger(__name__)


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

    What a step sees depends on (seed, process, step) only, so that a resumed training equals an uninterrupted one.
    With ``config.ema_decay`` a finished training leaves the averaged weights in ``objective``; those of the last step
    stay in the checkpoint. Before the first step the fast number format is checked against plain float32
    (`numerics.choose_format`; a resumed training keeps what was chosen), and the memory of a step against what is free.

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
        Stop with a checkpoint once this many steps are done, as an interruption (SIGINT, SIGTERM, SIGUSR1) would.

    Raises
    ------
    InputError
        If the checkpoint does not fit, the memory does not suffice, or the training diverged: 3 steps in a row without
        a finite loss, or 50 without finite gradients. The last good checkpoint stays as it is.
    """
    fabric = processes.launched(config)
    try:
        return _fit(fabric, objective, draw, config, folder, dict(settings or {}), advance, stop_after)
    finally:  # all that took part in it is gone by now: a reducer that outlives its process group never ends
        gc.collect()
        processes.close()


def _fit(
    fabric: Any,
    objective: nn.Module,
    draw: Draw,
    config: TrainConfig,
    folder: Path,
    settings: dict[str, Any],
    advance: Callable[[float], None] | None,
    stop_after: int | None,
) -> FitResult:
    rank, device = fabric.global_rank, fabric.device
    folder.mkdir(parents=True, exist_ok=True)
    warnings = _synchronise_norms(objective, fabric, config)
    objective.to(device).train()
    if config.checkpoint_gradients and not any(hasattr(part, "recompute") for part in objective.modules()):
        raise InputError("train.checkpoint_gradients: no part of this network can be recomputed; set it to false")
    _recompute(objective, enabled=config.checkpoint_gradients)
    optimizer = _optimizer(objective, config)
    average = WeightAverage(objective, config.ema_decay) if config.ema_decay else None
    recorded = {"train": _shaping(config) | {"devices": fabric.world_size}, "settings": settings}
    progress = state.Progress(settings=recorded)
    if (folder / state.FILE_NAME).exists():
        kept = average.state if average else None
        progress = state.load_state(folder / state.FILE_NAME, objective, optimizer, recorded, averaged=kept, rank=rank)
        if rank == 0:
            logger.info("resuming %s at step %d of %d", folder, progress.step, config.steps)
    elif rank:  # the first process goes on with the seed that made the weights
        torch.manual_seed(int(np.random.SeedSequence((config.seed, rank)).generate_state(1)[0]))
    with closing(batches_ahead(draw, _seeds(config, rank, progress.step), workers=config.workers)) as batches:
        first = next(batches, None)
        advice: Callable[[], str] = str
        if first is not None:
            progress, more = _with_format(objective, to_device(first, device), config, fabric, progress)
            warnings += more
            advice = _check_memory(objective, to_device(first, device), config, fabric, progress)
        model, wrapped = fabric.setup(objective, optimizer)
        progress = progress.model_copy(update={"warnings": [*progress.warnings, *warnings]})
        loop = Loop(fabric, model, objective, wrapped, config, folder, progress, average, draw, advice)
        if advance and progress.step:
            advance(progress.step)
        following = itertools.chain([first] if first is not None else [], batches)
        result = loop.run(following, advance or (lambda _: None), stop_after or config.steps)
        fabric.barrier()  # or the first process is gone while others still take leave of it
        return result


_ROOM_TO_KEEP = 4  # times what a step needs must be free before freed memory is kept

# the same gradients, only later or elsewhere
NOT_SHAPING = {"device", "workers", "composers", "checkpoint_every", "log_every", "checkpoint_gradients"}


def _shaping(config: TrainConfig) -> dict[str, Any]:
    """The settings that change the result: where it runs and how often it saves do not."""
    return config.model_dump(mode="json", exclude=NOT_SHAPING)


def _seeds(config: TrainConfig, rank: int, step: int) -> Iterator[tuple[int, ...]]:
    """(seed, process, number) of every batch from ``step`` on."""
    return ((config.seed, rank, n) for n in range(step * config.accumulate, config.steps * config.accumulate))


def _synchronise_norms(objective: nn.Module, fabric: Any, config: TrainConfig) -> list[str]:
    if not config.sync_batchnorm or fabric.world_size == 1:
        return []
    if fabric.device.type != "cuda":
        text = "train.sync_batchnorm is off: torch synchronises batch normalisation on GPUs only"
        logger.warning(text)
        return [text]
    nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
    return []


def _recompute(objective: nn.Module, *, enabled: bool) -> None:
    """Tell every part that can (`models.backbone.Backbone`) to make its activations again in the backward pass."""
    for part in objective.modules():
        if hasattr(part, "recompute"):
            part.recompute = enabled  # type: ignore[assignment]


def _with_format(
    objective: nn.Module, batch: Batch, config: TrainConfig, fabric: Any, progress: state.Progress
) -> tuple[state.Progress, list[str]]:
    """Choose the number format, once: a resumed training keeps it."""
    if progress.number_format:
        numerics.lay_out(objective, progress.number_format)
        return progress, []
    wanted = _wanted_format(config.precision, fabric.device.type)
    chosen, warnings = numerics.choose_format(
        objective, batch, wanted, lambda holds: not processes.anywhere(fabric, not holds)
    )
    for text in warnings:
        logger.warning(text)
    return progress.model_copy(update={"number_format": chosen}), warnings


def _wanted_format(precision: str, accelerator: str) -> numerics.Format:
    if precision != "auto":
        return "bf16" if precision == "bf16" else "fp32"
    if accelerator == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "bf16" if "AVX512" in capabilities and torch.cpu._is_avx512_bf16_supported() else "fp32"


def _check_memory(
    objective: nn.Module, batch: Batch, config: TrainConfig, fabric: Any, progress: state.Progress
) -> Callable[[], str]:
    """Refuse a step that cannot fit; return what to advise should it not fit all the same."""

    def needed() -> memory.StepMemory:
        assert progress.number_format  # chosen before
        return memory.step_memory(
            objective, batch, numerics.try_forward(objective, batch, progress.number_format), config
        )

    def recomputed() -> memory.StepMemory | None:
        if config.checkpoint_gradients:
            return None
        _recompute(objective, enabled=True)
        try:
            return needed()
        finally:
            _recompute(objective, enabled=False)

    sharing = 1 if fabric.device.type == "cuda" else processes.on_this_machine(fabric)
    expected, room = needed(), memory.free_memory(fabric.device, sharing=sharing)
    if expected.total > room:
        memory.check_memory(expected, room, recomputed=recomputed())
    if fabric.device.type == "cpu" and _ROOM_TO_KEEP * expected.total < room:
        keep_freed_memory()
    if fabric.is_global_zero:
        logger.info(
            "training in %s; a step needs about %.2g GB, %.2g GB are free",
            numerics.DESCRIPTIONS[progress.number_format or "plain"],
            expected.total / memory.GB,
            room / memory.GB,
        )
    return lambda: memory.what_fits(expected, expected.fixed + expected.activations // 2, recomputed=None)


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
