"""Data sets on disk: ``model_N`` folders in SHREC 2021's layout, exact truth beside; resumable, never half-written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.atomic import replacing, replacing_folder, sweep_folder
from cryoembed.io.mrc import write_mrc
from cryoembed.io.shrec import cube_offset, in_cube, write_model
from cryoembed.simulate.cost import check_disk, cost
from cryoembed.simulate.dataset import (
    DatasetConfig,
    imaging_of,
    settings_digest,
    shared_templates,
    simulate_model,
    split_of,
)
from cryoembed.simulate.density.template import Split, Template
from cryoembed.simulate.imaging.series import Imaged, check_files
from cryoembed.simulate.scene.truth import STRUCTURES, Scene

logger = logging.getLogger(__name__)

TABLE = "particles.parquet"
TILT_SERIES = "tilt_series"
FILAMENTS = "filaments.parquet"
RECORD = "model.json"
SCHEMA = 2
_HALVES = ("even", "odd", "clean")

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
    logger.info("simulate: %d models to make, %d complete; %s", len(todo), len(kept), needed.text(processes, threads))
    check_disk(out, needed.disk_gb)
    for index in todo:
        check_files(imaging_of(config, index))
    sweep_folder(out)
    particles = 0
    try:
        for placed in each(partial(make_model, config, out, threads=threads), todo):
            particles += placed
            progress(1)
    finally:  # of processes that were ended in the middle
        sweep_folder(out)
    return Written(tuple(names[index] for index in todo), tuple(kept), particles)


def make_model(config: DatasetConfig, out: Path, index: int, *, threads: int | None = None) -> int:
    """Simulate one model and write its folder; return how many particles it holds."""
    digest = settings_digest(config, index)
    scene, imaged = simulate_model(config, index, _species(config), threads=threads)
    _write(out / f"model_{index}", scene, imaged, config, split_of(config, index), digest)
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


def _write(folder: Path, scene: Scene, imaged: Imaged, config: DatasetConfig, split: Split, digest: str) -> None:
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": digest,
        "split": split,
        "classes": list(scene.classes),
        "contrast": config.imaging.contrast,
        "crowding": round(scene.crowding, 6),
        "missed": dict(scene.missed),
        **{name: round(value, 6) for name, value in imaged.params.items()},
    }
    shape, binning = imaged.reconstruction.shape, config.imaging.binning
    thin = (slice(None, None, binning),) * 3
    shift = cube_offset(shape, imaged.voxel_size) if config.shrec_cube else ORIGIN
    record["cube_offset_vox"] = [round(step / imaged.voxel_size) for step in shift]

    with replacing_folder(folder) as temporary:

        def write(name: str, volume: npt.NDArray[Any], around: float = 0.0) -> None:
            framed = in_cube(volume, around) if config.shrec_cube else volume
            write_mrc(temporary / f"{name}.mrc", framed, imaged.voxel_size)

        write_model(
            temporary,
            reconstruction=imaged.reconstruction,
            grandmodel=_averaged(scene.density, binning),
            class_mask=scene.class_mask[thin],
            occupancy_mask=scene.occupancy_mask[thin],
            particles=scene.particles,
            voxel_size=imaged.voxel_size,
            classes=scene.classes,
            cube=config.shrec_cube,
        )
        if config.write_halves:
            for name in _HALVES:
                volume = getattr(imaged, name)
                write(name, volume, float(volume.mean()))
        if scene.sample_mask is not None or scene.cell_mask is not None:
            write("lamella_mask", scene.lamella_mask[thin].astype(np.int8))
        if config.write_masks:
            for name in STRUCTURES:
                if name in scene.classes:
                    write(f"masks/{name}", scene.mask_of(name)[thin].astype(np.int8))
        if scene.filaments is not None:
            _write_table(temporary / FILAMENTS, scene.filaments, shift)
        _write_table(temporary / TABLE, scene.particles.table, shift)
        if imaged.tilt_series is not None:
            _write_tilt_series(temporary, imaged, config.voxel_size)
        with replacing(temporary / RECORD) as path:
            path.write_text(json.dumps(record, indent=1) + "\n")


def _averaged(density: npt.NDArray[np.float32], binning: int) -> npt.NDArray[np.float32]:
    """The density on every ``binning``-th voxel, averaged around it; as after Fourier cropping, voxel 0 stays."""
    if binning == 1:
        return density
    weights = np.convolve(np.ones(binning), np.ones(binning)) / binning**2
    for axis in range(3):
        density = ndimage.convolve1d(density, weights, axis=axis, mode="nearest")
        density = density[tuple(slice(None, None, binning if a == axis else None) for a in range(3))]
    return density


def _write_tilt_series(folder: Path, imaged: Imaged, pixel_size: float) -> None:
    """Counts, angles as a microscope reports them (IMOD's .tlt), and per tilt what they truly were."""
    assert imaged.tilt_series is not None
    write_mrc(folder / f"{TILT_SERIES}.mrc", imaged.tilt_series, pixel_size)
    with replacing(folder / f"{TILT_SERIES}.tlt") as path:
        path.write_text("".join(f"{angle:8.3f}\n" for angle in imaged.exposures.nominal_deg))
    exposures, misaligned = imaged.exposures, imaged.exposures.misalignment
    table = pd.DataFrame(
        {
            "nominal_deg": exposures.nominal_deg,
            "tilt_deg": exposures.tilts_deg,
            "dose": exposures.doses,  # e/A^2 by the middle of the exposure
            "defocus_um": exposures.defocus_um,
            "shift_y_px": misaligned.shifts_px[:, 0],
            "shift_x_px": misaligned.shifts_px[:, 1],
            "rotation_deg": misaligned.rotations_deg,
            "magnification": misaligned.magnifications,
        }
    )
    with replacing(folder / f"{TILT_SERIES}.parquet") as path:
        table.to_parquet(path, index=False)


def _write_table(path: Path, table: pd.DataFrame, shift_zyx: Triple) -> None:
    """Write rows with ``z y x`` in A, moved into the frame of the files."""
    moved = table.assign(**{axis: table[axis] + step for axis, step in zip("zyx", shift_zyx, strict=True)})
    with replacing(path) as temporary:
        (moved if any(shift_zyx) else table).to_parquet(temporary, index=False)
