"""A training's state on disk: model, optimizer, random numbers and counters in one safetensors file, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing

SCHEMA_VERSION = 1
FILE_NAME = "checkpoint.safetensors"


class Progress(Config):
    """The counters of a training that go with its tensors; ``sums`` over ``count`` steps await the next log line."""

    schema_version: int = SCHEMA_VERSION
    step: int = 0
    skipped_steps: int = 0
    sums: dict[str, float] = {}
    count: int = 0
    metrics: dict[str, float] = {}
    settings: dict[str, Any] = {}


def save_state(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write module, optimizer and torch's random state; the file appears whole or not at all."""
    tensors = {f"model.{name}": value for name, value in module.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    tensors["random.torch"] = torch.get_rng_state()
    # contiguous copies: safetensors refuses strided (channels_last) and shared tensors
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(whole, str(temporary), metadata={"progress": progress.model_dump_json()})
        except SafetensorError as error:  # a full disk, for one
            raise OSError(str(error)) from None


def load_state(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> Progress:
    """Restore what `save_state` wrote.

    Raises
    ------
    InputError
        If the file is damaged, or was written by a training with other settings (the differing ones are named).
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            progress = Progress.model_validate(json.loads((file.metadata() or {})["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise InputError(f"checkpoint {path} is not readable ({error}); remove it to start anew") from None
    _same_settings(path, progress.settings, settings)
    module.load_state_dict(_with_prefix(tensors, "model."))
    _load_optimizer(optimizer, _with_prefix(tensors, "optimizer."))
    torch.set_rng_state(tensors["random.torch"])
    return progress


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
