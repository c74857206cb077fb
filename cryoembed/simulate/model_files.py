"""One model on disk: a ``model_N`` folder in SHREC 2021's layout with the exact truth beside, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.atomic import replacing, replacing_folder
from cryoembed.io.mrc import write_mrc
from cryoembed.io.shrec import cube_offset, in_cube, write_model
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.template import Split
from cryoembed.simulate.imaging.series import Imaged
from cryoembed.simulate.scene.truth import STRUCTURES, Scene

TABLE = "particles.parquet"
TILT_SERIES = "tilt_series"
FILAMENTS = "filaments.parquet"
RECORD = "model.json"
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
