"""Data sets on disk: which models a folder lacks, made one by one or in many processes; never half-written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.atomic import sweep_folder
from cryoembed.simulate.cost import check_disk, cost
from cryoembed.simulate.dataset import DatasetConfig, settings_digest, shared_templates, simulate_model, split_of
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.model_files import RECORD, write_model_files

logger = logging.getLogger(__name__)

Make = Callable[[int], int]
Each = Callable[[Make, Sequence[int]], Iterable[int]]  # calls the first with each of the second, in any order


@dataclass(frozen=True)
class Written:
    """What `simulate_dataset` did."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    particles: int


def one_by_one(make: Make, indices: Sequence[int]) -> Iterator[int]:
    """Make the models here, one after the other; recipes have a way to make them in many processes."""
    return (make(index) for index in indices)


def simulate_dataset(
    config: DatasetConfig,
    out: Path,
    *,
    progress: Callable[[float], None] = lambda _: None,
    each: Each = one_by_one,
    processes: int | None = 1,
    threads: int | None = None,
    device: str = "cpu",
) -> Written:
    """Write the models that ``out`` lacks; each folder appears whole or not at all.

    ``model_N`` holds ``reconstruction, grandmodel, class_mask, occupancy_mask`` (.mrc), ``particle_locations.txt``
    (SHREC 2021), ``particles.parquet`` (sub-voxel positions in A, rotations, masses) and ``model.json`` (split, drawn
    imaging parameters, crowding); where the sample has them ``lamella_mask.mrc`` and ``filaments.parquet`` (points in
    A); as asked the halves, ``masks/CLASS.mrc`` and the tilt series. All share one frame. Model N depends on the
    settings and N only, never on the order of making or on how many are made at a time.

    Parameters
    ----------
    each
        How ``make(index)`` is called for the indices that are missing.
    processes
        How many ``each`` runs at a time, for the estimate (None: unknown).
    threads
        Of each model's imaging; default all that the process may use.
    device
        Of each model's imaging, see `imaging.series.image`; no part of a model's settings.

    Raises
    ------
    InputError
        If a setting is wrong, a model in ``out`` was made by other settings, crowding or counts can't be reached, or
        the disk is too small.
    """
    out = Path(out)
    names = [f"model_{index}" for index in range(config.models)]
    kept = [name for index, name in enumerate(names) if _complete(out / name, config, index)]
    todo = [index for index, name in enumerate(names) if name not in kept]
    needed = cost(config, len(todo))
    logger.info("simulate: %d models to make, %d complete; %s", len(todo), len(kept), needed.text(processes))
    check_disk(out, needed.disk_gb)
    sweep_folder(out)
    particles = 0
    try:
        for placed in each(partial(make_model, config, out, threads=threads, device=device), todo):
            particles += placed
            progress(1)
    finally:  # of processes that were ended in the middle
        sweep_folder(out)
    return Written(tuple(names[index] for index in todo), tuple(kept), particles)


def make_model(config: DatasetConfig, out: Path, index: int, *, threads: int | None = None, device: str = "cpu") -> int:
    """Simulate one model and write its folder; return how many particles it holds."""
    digest = settings_digest(config, index)
    scene, imaged = simulate_model(config, index, _species(config), threads=threads, device=device)
    write_model_files(out / f"model_{index}", scene, imaged, config, split_of(config, index), digest)
    return len(scene.particles)


_made: dict[str, list[Template]] = {}  # of the last data set: a process makes many of its models


def _species(config: DatasetConfig) -> list[Template]:
    digest = settings_digest(config)
    if digest not in _made:
        _made.clear()
        _made[digest] = shared_templates(config)
    return _made[digest]


def _complete(folder: Path, config: DatasetConfig, index: int) -> bool:
    """Whether a finished model is there; one made by other settings is an error, never overwritten."""
    record = folder / RECORD
    if not record.is_file():
        return False
    try:
        made_by = json.loads(record.read_text()).get("settings")
    except json.JSONDecodeError:
        made_by = None
    if made_by != settings_digest(config, index):
        raise InputError(f"{folder} was made with other settings; choose another --out or remove the folder")
    return True
