"""crYOLO's and TomoTwin's ``.cbox``: X and Y are the box's corner, Z is its centre slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple, voxel_to_angstrom
from cryoembed.io.star import read_blocks
from cryoembed.particles import Particles


def read_cbox(path: Path, *, tomogram: str, voxel_size: float | None, origin: Triple = ORIGIN) -> Particles:
    """Read box centres; the confidence becomes the score.

    Raises
    ------
    InputError
        If the voxel size is unknown, or the boxes are those of 2D micrographs (no Z).
    """
    boxes = read_blocks(path).get("cryolo")
    columns = [f"Coordinate{axis}" for axis in "ZYX"] + ["Width", "Height"]
    if boxes is None or not set(columns) <= set(boxes.columns):
        raise InputError(f"{path}: no block data_cryolo with {', '.join(columns)}: not a .cbox file")
    z, y, x, width, height = boxes[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64).T
    if len(z) and np.isnan(z).all():
        raise InputError(f"{path}: boxes of 2D micrographs (CoordinateZ is empty); expected picks in a tomogram")
    if voxel_size is None:
        raise InputError(f"{path}: .cbox is in voxels; pass --voxel-size (A per voxel)")
    voxels = np.stack([z, y + height / 2, x + width / 2], axis=1)
    score = pd.to_numeric(boxes.get("Confidence", pd.Series(np.nan, boxes.index)), errors="coerce")
    particles = Particles.from_arrays(tomogram, voxel_to_angstrom(voxels, voxel_size, origin))
    return particles if score.isna().all() else particles.with_columns(score=score.to_numpy())
