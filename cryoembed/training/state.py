"""A training's state on disk: model, optimizer, random numbers and counters in one safetensors file, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing

SCHEMA_VERSION = 2
FILE_NAME = "checkpoint.safetensors"


class Progress(Config):
    """The counters of a training that go with its tensors; ``sums`` over ``count`` steps await the next log line.

    ``number_format`` is what the check at the start chose (`training.numerics`): a resumed training keeps it.
    """

    schema_version: int = SCHEMA_VERSION
    step: int = 0
    skipped_steps: int = 0
    sums: dict[str, float] = {}
    count: int = 0
    metrics: dict[str, float] = {}
    warnings: list[str] = []
    number_format: Literal["", "bf16", "fp32", "plain"] = ""
    settings: dict[str, Any] = {}


def save_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    averaged: Mapping[str, Tensor] | None = None,
    random: Mapping[str, Tensor] | None = None,
) -> None:
    """Write module, optimizer, moving average and random states; the file appears whole or not at all.

    Parameters
    ----------
    averaged
        The moving average of the weights, where there is one; ``module`` has the raw ones.
    random
        States by name (`random_states`), of all processes.

    Raises
    ------
    InputError
        If a weight is not finite; the file that was there stays.
    """
    tensors = {f"model.{name}": value for name, value in module.state_dict().items()}
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise InputError(
            f"training diverged: {bad[0].removeprefix('model.')} holds NaN or infinite values after step "
            f"{progress.step}; the last good checkpoint is kept, lower train.learning_rate or set train.precision=fp32"
        )
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    tensors |= {f"average.{name}": value for name, value in (averaged or {}).items()}
    tensors |= {f"random.{name}": value for name, value in (random or random_states(torch.device("cpu"))).items()}
    # contiguous copies: safetensors refuses strided (channels_last) and shared tensors
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(whole, str(temporary), metadata={"progress": progress.model_dump_json()})
        except SafetensorError as error:  # a full disk, for one
            raise OSError(str(error)) from None


def load_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    *,
    averaged: Mapping[str, Tensor] | None = None,
    rank: int = 0,
) -> Progress:
    """Restore what `save_state` wrote, into ``averaged``, too, and the random states of process ``rank``.

    Raises
    ------
    InputError
        If the file is damaged or of another schema, or was written by a training with other settings (the differing
        ones are named) or of another architecture.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            values = json.loads((file.metadata() or {})["progress"])
            version = values["schema_version"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            progress = Progress.model_validate(values) if version == SCHEMA_VERSION else None
    except Exception as error:
        raise InputError(f"checkpoint {path} is not readable ({error}); remove it to start anew") from None
    if progress is None:
        raise InputError(
            f"checkpoint {path}: schema version {version}, this cryoembed reads {SCHEMA_VERSION}; finish it with the "
            "cryoembed that wrote it, choose another --out or remove the checkpoint"
        )
    _same_settings(path, progress.settings, settings)
    _load_module(path, module, _with_prefix(tensors, "model."))
    _load_optimizer(optimizer, _with_prefix(tensors, "optimizer."))
    for name, value in _with_prefix(tensors, "average.").items():
        if averaged is not None:
            averaged[name].copy_(value)
    states = _with_prefix(tensors, "random.")
    torch.set_rng_state(states[f"torch.{rank}"])
    if f"cuda.{rank}" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[f"cuda.{rank}"])
    return progress


def random_states(device: torch.device, rank: int = 0) -> dict[str, Tensor]:
    """Torch's random states of this process, by the names `load_state` knows."""
    states = {f"torch.{rank}": torch.get_rng_state()}
    return states | ({f"cuda.{rank}": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _load_module(path: Path, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in tensors.items()}
    if ours != theirs:
        name = next(name for name in sorted({**ours, **theirs}) if ours.get(name) != theirs.get(name))
        raise InputError(
            f"checkpoint {path} is of another architecture: {name} has shape {theirs.get(name, 'none')} there, "
            f"{ours.get(name, 'none')} here; choose another --out or remove the checkpoint"
        )
    module.load_state_dict(tensors)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _same_settings(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    saved, wanted = json.loads(json.dumps(saved)), json.loads(json.dumps(wanted))
    different = _differences(saved, wanted)
    if different:
        raise InputError(
            f"checkpoint {path} was written with other settings ({'; '.join(different[:3])}); "
            "restore them, choose another --out or remove the checkpoint"
        )


def _differences(saved: Any, wanted: Any, where: str = "") -> list[str]:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = sorted(set(saved) | set(wanted))
        return [d for key in keys for d in _differences(saved.get(key), wanted.get(key), f"{where}.{key}".strip("."))]
    return [] if saved == wanted else [f"{where}: {saved!r} then, {wanted!r} now"]
