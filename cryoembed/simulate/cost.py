"""What a data set will take: seconds, memory and disk by its settings, said before anything is made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.dataset import DatasetConfig

# seconds of one core per megavoxel, measured on 2.5 to 47 megavoxels: packing, and the imaging of one tilt
SAMPLE_S = 0.3
TILT_S = {"weak_phase": 0.006, "multislice": 0.028}
START_S = 1.0
SLAB = 50.0  # A, of the multislice that was measured
MEMORY_PER_VOXEL = 55  # bytes at the peak, in the imaging
MEMORY_GB = 0.3  # Python and the libraries


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
    megavoxels = float(np.prod(config.shape)) / 1e6
    per_tilt = TILT_S[config.imaging.model] * (
        SLAB / config.imaging.slab if config.imaging.model == "multislice" else 1
    )
    cube = 4 * max(config.shape) ** 3 / 1e9 if config.shrec_cube else 0.0  # one volume at a time
    return Cost(
        models=models,
        seconds=START_S + megavoxels * (SAMPLE_S + _tilts(config) * per_tilt),
        memory_gb=MEMORY_GB + megavoxels * MEMORY_PER_VOXEL / 1e3 + cube,
        disk_gb=models * disk_bytes(config) / 1e9,
    )


def disk_bytes(config: DatasetConfig) -> float:
    """Of one model: its volumes, which is nearly everything."""
    shape = [size // config.imaging.binning for size in config.shape]
    voxels = max(shape) ** 3 if config.shrec_cube else int(np.prod(shape))
    masks = len(config.structure_labels) if config.write_masks else 0
    per_voxel = 4 + 4 + 1 + 2 + 1 + (12 if config.write_halves else 0) + masks
    series = 4 * _tilts(config) * config.shape[1] * config.shape[2] if config.imaging.write_tilt_series else 0
    return voxels * per_voxel + series


def _tilts(config: DatasetConfig) -> int:
    """How many; those of files are not read for an estimate."""
    return len(config.imaging.planned_tilts_deg())


def check_disk(out: Path, needed_gb: float) -> None:
    """Refuse what the disk can't hold."""
    existing = next((parent for parent in (out, *out.resolve().parents) if parent.exists()), None)
    if existing is not None and (free := shutil.disk_usage(existing).free / 1e9) < needed_gb:
        raise InputError(f"{out}: {needed_gb:.2f} GB needed, {free:.2f} GB free; choose another --out or fewer models")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"
