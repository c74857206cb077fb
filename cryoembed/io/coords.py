"""``.coords``, a name with two meanings: TomoTwin's ``X Y Z`` and DeepETPicker's ``class x y z``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple, angstrom_to_voxel, reverse_axes, voxel_to_angstrom
from cryoembed.io.atomic import replacing
from cryoembed.io.sniff import read_text
from cryoembed.particles import Particles


def read_coords(path: Path, *, tomogram: str, voxel_size: float | None, origin: Triple = ORIGIN) -> Particles:
    """Read centres in voxels; ``voxel_size`` (A) and ``origin`` (A, zyx) are those of the tomogram picked in.

    Raises
    ------
    InputError
        If the voxel size is unknown, or a line has neither three nor four numbers.
    """
    if voxel_size is None:
        raise InputError(f"{path}: .coords are in voxels; pass --voxel-size (A per voxel)")
    rows = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    widths = {len(row) for row in rows}
    if not widths <= {3} and not widths <= {4}:
        raise InputError(f"{path}: expected 'X Y Z' or 'class x y z' in every line, in voxels")
    try:
        numbers = np.array([[float(cell) for cell in row[-3:]] for row in rows], dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path}: {error}; expected numbers, 'X Y Z' or 'class x y z', in voxels") from None
    positions = voxel_to_angstrom(reverse_axes(numbers), voxel_size, origin)
    particles = Particles.from_arrays(tomogram, positions)
    return particles.with_columns(label=[row[0] for row in rows]) if widths == {4} else particles


def write_coords(path: Path, particles: Particles, *, voxel_size: float, origin: Triple = ORIGIN) -> None:
    """Write TomoTwin's ``X Y Z`` in voxels; the format has room for one tomogram and no labels."""
    if len(particles.tomograms) > 1:
        raise InputError(
            f"{path}: .coords holds one tomogram, these picks have {len(particles.tomograms)}; "
            "write .star or .csv, or convert one tomogram at a time"
        )
    voxels = reverse_axes(angstrom_to_voxel(particles.positions_zyx, voxel_size, origin))
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in voxels), encoding="utf-8")
