"""What a data set will take: seconds, memory and disk by its settings, said before anything is made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.dataset import DatasetConfig

SECONDS_PER_MEGAVOXEL = 1.0  # one core, 10 A, ~150 particles in 3.5 megavoxels
MEMORY_PER_VOXEL = 70  # bytes at the peak, in the imaging
MEMORY_GB = 0.2  # Python and the libraries


@dataclass(frozen=True)
class Cost:
    """Of ``models`` models: seconds of one core each, GB of memory of each process, GB on disk of all."""

    models: int
    seconds: float
    memory_gb: float
    disk_gb: float

    def text(self, processes: int | None) -> str:
        """One line for so many processes at a time (None: a scheduler's)."""
        if processes is None:
            return f"about {self.seconds:.0f} s and {self.memory_gb:.1f} GB memory each, {self.disk_gb:.2f} GB disk"
        at_a_time = max(1, min(processes, self.models))
        rounds = -(-self.models // at_a_time)
        plural = "es" if at_a_time > 1 else ""
        return (
            f"about {_time(rounds * self.seconds)}, {at_a_time * self.memory_gb:.1f} GB memory "
            f"({at_a_time} process{plural}), {self.disk_gb:.2f} GB disk"
        )


def cost(config: DatasetConfig, models: int) -> Cost:
    """Estimate ``models`` models of these settings."""
    voxels = float(np.prod(config.shape))
    return Cost(
        models=models,
        seconds=max(1.0, voxels / 1e6 * SECONDS_PER_MEGAVOXEL),
        memory_gb=voxels * MEMORY_PER_VOXEL / 1e9 + MEMORY_GB,
        disk_gb=models * disk_bytes(config) / 1e9,
    )


def disk_bytes(config: DatasetConfig) -> float:
    """Of one model: its volumes, which is nearly everything."""
    voxels = float(np.prod(config.shape))
    return voxels * (4 + 4 + 1 + 2 + (12 if config.write_halves else 0))


def check_disk(out: Path, needed_gb: float) -> None:
    """Refuse what the disk can't hold."""
    existing = next((parent for parent in (out, *out.resolve().parents) if parent.exists()), None)
    if existing is not None and (free := shutil.disk_usage(existing).free / 1e9) < needed_gb:
        raise InputError(f"{out}: {needed_gb:.2f} GB needed, {free:.2f} GB free; choose another --out or fewer models")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"
