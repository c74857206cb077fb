"""What a data set will take: seconds, memory and disk by its settings, said before anything is made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.threads import usable_threads

# seconds of one core, measured by `python -m tests.benchmark.datasets` on 2 to 380 megavoxels
START_S = 3.0  # once: Python, compiled code, species
MODEL_S = 0.5
PLACE_S = 0.06  # per megavoxel: membranes, masks and some particles
CROWD_S = 1.0  # per megavoxel filled to the brim; half as much, half the time
STRING_S = 0.09  # per chain and model: DNA grows base by base
BACK_S = 0.0035  # per megavoxel and tilt: projection and back-projection
SLICE_S = {"weak_phase": 0.0, "multislice": 0.009}  # further, for the projection of each slab
WAVE_S = 0.028  # per megapixel, tilt and slab of the multislice
WRITE_S = 0.03  # per megavoxel and volume
# bytes at the peak, in the imaging
FINE_BYTES = 12  # per voxel of the sample: density and masks
COARSE_BYTES = 27  # per voxel of the reconstruction
IMAGE_BYTES = 24  # per pixel of the tilt series
MEMORY_GB = 0.35  # Python and the libraries


@dataclass(frozen=True)
class Cost:
    """Of ``models`` models: seconds each takes, GB of memory of each process, GB on disk of all.

    ``seconds`` are of one core; the ``shared`` part of them is shared out among the cores of a process.
    """

    models: int
    seconds: float
    memory_gb: float
    disk_gb: float
    shared: float = 0.0

    def text(self, processes: int | None, threads: int | None = 1) -> str:
        """One line for so many processes at a time (None: a scheduler's), each on ``threads`` (None: all cores)."""
        cores = usable_threads() if threads is None else threads
        each = self.seconds - self.shared * (1 - 1 / cores)
        if processes is None:
            return f"about {each:.0f} s and {self.memory_gb:.1f} GB memory each, {self.disk_gb:.2f} GB disk"
        at_a_time = max(1, min(processes, self.models))
        rounds = -(-self.models // at_a_time)
        plural = "es" if at_a_time > 1 else ""
        return (
            f"about {_time(START_S + rounds * each)}, {at_a_time * self.memory_gb:.1f} GB memory "
            f"({at_a_time} process{plural}), {self.disk_gb:.2f} GB disk"
        )


def cost(config: DatasetConfig, models: int) -> Cost:
    """Estimate ``models`` models of these settings."""
    imaging = config.imaging
    depth, height, width = config.shape
    fine = depth * height * width / 1e6
    coarse = fine / imaging.binning**3
    tilts = _tilts(config)
    pixels = tilts * height * width / 1e6
    lens = SLICE_S[imaging.model] * tilts * fine
    if imaging.model == "multislice":
        lens += WAVE_S * pixels * max(depth * config.voxel_size / imaging.slab, 1)
    optical = BACK_S * tilts * fine + lens
    chains = sum(sum(spec.count) / 2 for spec in config.chains)
    sample = fine * (PLACE_S + CROWD_S * (config.crowding or 0.0)) + STRING_S * chains
    volumes = 5 if config.write_halves else 2
    cube = 4 * max(config.shape) ** 3 / imaging.binning**3 / 1e9 if config.shrec_cube else 0.0  # one volume at a time
    return Cost(
        models=models,
        seconds=MODEL_S + sample + optical + WRITE_S * coarse * volumes,
        memory_gb=MEMORY_GB + (fine * FINE_BYTES + coarse * COARSE_BYTES + pixels * IMAGE_BYTES) / 1e3 + cube,
        disk_gb=models * disk_bytes(config) / 1e9,
        shared=optical,
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
