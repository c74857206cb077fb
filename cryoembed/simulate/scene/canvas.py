"""The volumes being filled: density and truth, what is taken, and the rows of what was written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cryoembed import geometry
from cryoembed.particles import QUATERNION, Particles
from cryoembed.simulate.density.template import Mask, Volume
from cryoembed.simulate.scene.search import block_around

Shape = tuple[int, int, int]
Window = tuple[slice, slice, slice]
Voxels = npt.NDArray[np.int64]  # (n, 3) zyx
_COLUMNS = ("z", "y", "x", *QUATERNION, "label", "mass_kda")


class Canvas:
    """The volumes being filled. Not thread-safe; everything random comes from the generator passed in."""

    def __init__(
        self, shape: Shape, voxel_size: float, *, gap: float, margin: float, classes: Sequence[str] = ()
    ) -> None:
        self.classes = tuple(classes)
        self.shape, self.voxel_size = shape, voxel_size
        self.margin, self.gap = margin / voxel_size, gap / voxel_size
        self.density: Volume = np.zeros(shape, dtype=np.float32)
        self.class_mask = np.zeros(shape, dtype=np.int16)
        self.occupancy = np.zeros(shape, dtype=np.int32)
        self.blocked = np.zeros(shape, dtype=np.bool_)  # occupied, or nearer than the gap to it
        self.rows: list[dict[str, object]] = []
        self.filled = 0  # voxels of particles
        self.paths: list[tuple[int, str, npt.NDArray[np.float64]]] = []  # id, label, (n, 3) zyx A of each filament
        self.bounds = (np.zeros(3, dtype=np.int64), np.array(shape) - 1)  # first and last voxel that is not blocked

    def label_id(self, label: str) -> int:
        """The class number of a label."""
        return self.classes.index(label) + 1

    def confine(self, room: Mask) -> None:
        """Nothing is placed outside of ``room`` (z, y, x) from now on; what is there stays."""
        self.blocked |= ~room
        spans = [np.flatnonzero(room.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if all(map(len, spans)):
            self.bounds = np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])

    def claim_row(self, row: dict[str, object]) -> int:
        """Begin an object that `write_window` fills; its id."""
        self.rows.append(dict(row))
        return len(self.rows)

    def drop_row(self, instance: int) -> None:
        """Take back the last object, of which nothing was written."""
        assert instance == len(self.rows)
        self.rows.pop()

    def write_window(self, window: Window, density: Volume, mask: Mask, label_id: int) -> None:
        """Add a part of the last object, whose gap the caller keeps."""
        self.density[window] += density
        self.occupancy[window][mask] = len(self.rows)
        self.class_mask[window][mask] = label_id
        self.blocked[window] |= mask

    def write(
        self,
        density: Volume,
        offsets: Voxels,
        at: Voxels,
        centre: int,
        label_id: int,
        row: dict[str, object],
        shift: npt.NDArray[np.float64],
    ) -> int:
        """Add density and truth of one object; how many voxels it took."""
        slices = geometry.box_slices(tuple(at - centre), density.shape, self.shape)
        if slices is not None:
            self.density[slices[0]] += density[slices[1]]
        voxels = offsets + at
        voxels = voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)]
        self.rows.append({**dict(zip("zyx", (at + shift) * self.voxel_size, strict=True)), **row})
        index = tuple(voxels.T)
        self.occupancy[index] = len(self.rows)
        self.class_mask[index] = label_id
        self.blocked[index] = True
        if self.gap > 0:
            block_around(self.blocked, voxels, self.gap)
        return len(voxels)

    def particles(self, tomogram: str) -> Particles:
        """The rows written so far; ``instance`` is the occupancy id."""
        table = pd.DataFrame({name: [row.get(name, np.nan) for row in self.rows] for name in _COLUMNS})
        table.insert(0, "tomogram", tomogram)
        return Particles(table.assign(instance=np.arange(1, len(table) + 1)))

    def filaments(self) -> pd.DataFrame | None:
        """The paths of filaments, one row per point; None if there are none."""
        if not self.paths:
            return None
        parts = [
            pd.DataFrame(
                {
                    "instance": instance,
                    "label": label,
                    "point": np.arange(len(path)),
                    **dict(zip("zyx", path.T, strict=True)),
                }
            )
            for instance, label, path in self.paths
        ]
        return pd.concat(parts, ignore_index=True)
