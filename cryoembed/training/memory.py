"""What a training step will take in memory, and what would fit where that is too much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cryoembed.errors import InputError
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Batch
from cryoembed.training.numerics import Trial

GB = 1e9
SIDE_STEP = 8  # voxels: crops are offered in multiples of it
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one step.

    Attributes
    ----------
    fixed
        Gradients, the optimizer's state, a moving average; batches drawn ahead.
    activations
        What the backward pass needs, and its two largest temporaries; grows with the batch.
    samples
        In a batch.
    side
        Shortest side of a sample in voxels; 0 where samples are no volumes.
    """

    fixed: int
    activations: int
    samples: int
    side: int

    @property
    def total(self) -> int:
        """All together."""
        return self.fixed + self.activations


def step_memory(objective: nn.Module, batch: Batch, trial: Trial, config: TrainConfig) -> StepMemory:
    """Estimate a step's memory from a forward pass (`numerics.try_forward`) in which nothing was kept."""
    trained = sum(p.numel() * p.element_size() for p in objective.parameters() if p.requires_grad)
    copies = 1 + (2 if config.optimizer == "adamw" else 1) + (1 if config.ema_decay else 0)
    drawn = sum(value.numel() * value.element_size() for value in batch.values())
    volumes = [value for value in batch.values() if value.ndim == 5]
    largest = max(volumes, key=lambda value: value.numel()) if volumes else next(iter(batch.values()))
    side = min(largest.shape[2:]) if volumes else 0
    return StepMemory(
        fixed=copies * trained + drawn * (1 + 2 * config.workers),
        activations=trial.kept + 2 * trial.largest,
        samples=len(largest),
        side=side,
    )


def free_memory(device: torch.device, *, sharing: int = 1) -> int:
    """Bytes that each of ``sharing`` processes can take: of its own GPU, or of the RAM that is free and allowed."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([_available_ram(), *_cgroup_room()]) // sharing


def what_fits(memory: StepMemory, room: int, *, recomputed: StepMemory | None) -> str:
    """Advice for a step that is to take at most ``room`` bytes; ``recomputed`` is what checkpointing would make it."""
    share = max(0.0, (room - memory.fixed) / max(1, memory.activations))
    offers = []
    if samples := min(int(memory.samples * share), memory.samples - 1):
        of = f"at most {samples} samples at a time instead of {memory.samples}"
        offers.append(f"a smaller batch ({of}; train.accumulate makes up for it)")
    if (side := int(memory.side * share ** (1 / 3)) // SIDE_STEP * SIDE_STEP) and side < memory.side:
        offers.append(f"samples of {side} voxels instead of {memory.side}")
    if recomputed is not None and recomputed.total < min(room, memory.total):
        offers.append(f"train.checkpoint_gradients=true (about {recomputed.total / GB:.2g} GB)")
    return "; or ".join(offers) or "a smaller network"


def check_memory(memory: StepMemory, room: int, *, recomputed: StepMemory | None) -> None:
    """Raise an `InputError` that says what would fit if a step needs more than ``room`` bytes."""
    if memory.total > room:
        raise InputError(
            f"a training step needs about {memory.total / GB:.2g} GB, {memory.activations / GB:.2g} GB of it for the "
            f"activations of {memory.samples} samples, and {room / GB:.2g} GB are free; what would fit: "
            f"{what_fits(memory, room, recomputed=recomputed)}"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, on a CPU or a GPU, or Python found no memory."""
    words = ("out of memory", "can't allocate", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _available_ram() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2**62  # unknown here: never a reason to refuse


def _cgroup_room() -> list[int]:
    """Bytes left under the limits that Slurm or a container set (control groups, version 2)."""
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    here, rooms = CGROUPS / own.strip("/"), []
    for folder in (here, *here.parents):
        limit, used = folder / "memory.max", folder / "memory.stat"
        if folder.is_relative_to(CGROUPS) and limit.is_file() and (text := limit.read_text().strip()).isdigit():
            taken = dict(line.split() for line in used.read_text().splitlines())
            rooms.append(int(text) - int(taken.get("anon", 0)))  # page cache gives way
    return rooms
