"""One model on disk: a ``model_N`` folder in SHREC 2021's layout with the exact truth beside, whole or not at all."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cryoembed.geometry import ORIGIN, Triple, nearest_voxel
from cryoembed.io.atomic import replacing, replacing_folder
from cryoembed.io.mrc import write_mrc
from cryoembed.io.shrec import cube_offset, in_cube, write_model
from cryoembed.particles import is_particle
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.template import Split
from cryoembed.simulate.finished import write_record
from cryoembed.simulate.imaging.series import Imaged
from cryoembed.simulate.scene.truth import STRUCTURES, Scene, truth_is_consistent

logger = logging.getLogger(__name__)

TABLE = "particles.parquet"
TILT_SERIES = "tilt_series"
FILAMENTS = "filaments.parquet"
SCHEMA = 2
_HALVES = ("even", "odd", "clean")


def write_model_files(
    folder: Path, scene: Scene, imaged: Imaged, config: DatasetConfig, split: Split, digest: str
) -> None:
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": digest,
        "split": split,
        "classes": list(scene.classes),
        "species": dict(scene.splits),
        "contrast": config.imaging.contrast,
        "crowding": round(scene.crowding, 6),
        "missed": dict(scene.missed),
        **{name: round(value, 6) for name, value in imaged.params.items()},
    }
    shape, binning = imaged.reconstruction.shape, config.imaging.binning
    thin = (slice(None, None, binning),) * 3
    classes, occupancy = _thinned_truth(scene, binning)
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
            class_mask=classes,
            occupancy_mask=occupancy,
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
                    write(f"masks/{name}", (classes == scene.classes.index(name) + 1).astype(np.int8))
        if scene.filaments is not None:
            _write_table(temporary / FILAMENTS, scene.filaments, shift)
        _write_table(temporary / TABLE, scene.particles.table, shift)
        if imaged.tilt_series is not None:
            _write_tilt_series(temporary, imaged, config.voxel_size)
        write_record(temporary, record)


def _thinned_truth(scene: Scene, binning: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
    """Class and occupancy masks on every ``binning``-th voxel; a particle keeps the one that its position rounds to.

    Thin particles may have none of their voxels there, but scorers look them up there.
    """
    thin = (slice(None, None, binning),) * 3
    classes, occupancy = scene.class_mask[thin], scene.occupancy_mask[thin]
    if binning == 1:
        return classes, occupancy
    thinned = replace(
        scene, class_mask=classes.copy(), occupancy_mask=occupancy.copy(), voxel_size=scene.voxel_size * binning
    )
    particles = is_particle(scene.particles.labels)
    for row in np.flatnonzero(particles & ~truth_is_consistent(thinned)):
        at = tuple(nearest_voxel(scene.particles.positions_zyx[row] / thinned.voxel_size))
        if all(0 <= index < size for index, size in zip(at, classes.shape, strict=True)):
            thinned.occupancy_mask[at] = row + 1
            thinned.class_mask[at] = scene.classes.index(scene.particles.labels[row]) + 1
    if lost := int((particles & ~truth_is_consistent(thinned)).sum()):
        logger.warning("binned by %d, %d particles have no voxel at their position: others are too near", binning, lost)
    return thinned.class_mask, thinned.occupancy_mask


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
