"""The volumes being filled: where a particle finds room, and what is written when it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.transform import Rotation

from cryoembed import geometry
from cryoembed.particles import QUATERNION, Particles
from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.template import Mask, Template, Volume, occupied, rotate
from cryoembed.simulate.scene.objects import Solid
from cryoembed.simulate.scene.search import any_free, block_around, first_free, free_but_for

Shape = tuple[int, int, int]
Window = tuple[slice, slice, slice]
Voxels = npt.NDArray[np.int64]  # (n, 3) zyx
_ORIENTATIONS = 4  # tried before a particle is given up
_SCANS = 2  # orientations for which every voxel is looked at
_CLIPPED_TRIES = 20  # places tested for a vesicle, which is large and checked voxel by voxel
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
        self._bounds = (np.zeros(3, dtype=np.int64), np.array(shape) - 1)  # first and last voxel that is not blocked

    def label_id(self, label: str) -> int:
        """The class number of a label."""
        return self.classes.index(label) + 1

    def confine(self, room: Mask) -> None:
        """Nothing is placed outside of ``room`` (z, y, x) from now on; what is there stays."""
        self.blocked |= ~room
        spans = [np.flatnonzero(room.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if all(map(len, spans)):
            self._bounds = np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])

    def place(
        self,
        template: Template,
        label_id: int,
        generator: np.random.Generator,
        threshold: float,
        tries: int,
        *,
        exhaustive: bool = False,
        may_stick_out: bool = False,
    ) -> bool:
        """Find a free place for one more particle; False if there is none among those tried.

        ``exhaustive`` looks at every voxel of the volume in `_SCANS` more orientations once the tries have failed.
        With ``may_stick_out`` the faces of the volume may cut a particle; its centre stays inside.
        """
        for orientation in range(_ORIENTATIONS + _SCANS * exhaustive):
            rotation = random_rotations(1, generator)[0]
            shift = generator.uniform(-0.5, 0.5, size=3)
            density = rotate(template, rotation, shift)
            centre = template.box_vox // 2
            mask = occupied(density, template.interior * threshold, (centre,) * 3, template.voxel_size)
            offsets = np.argwhere(mask) - centre
            low, high = self._range(offsets, may_stick_out)
            if orientation < _ORIENTATIONS:
                at = self._free_place(offsets, low, high, generator, tries, may_stick_out=may_stick_out)
            else:
                at = any_free(self.blocked, offsets, low, high, generator, may_stick_out=may_stick_out)
            if at is None:
                continue
            row = {**dict(zip(QUATERNION, rotation.as_quat(), strict=True)), **_named(template)}
            self.filled += self._write(density, offsets, at, centre, label_id, row, shift)
            return True
        return False

    def place_embedded(
        self,
        template: Template,
        label_id: int,
        rotation: Rotation,
        position_zyx_vox: npt.NDArray[np.float64],
        threshold: float,
        membrane_id: int,
    ) -> bool:
        """Place a particle at a given pose where only the membrane ``membrane_id`` is; it takes the lipids' place."""
        at = geometry.nearest_voxel(position_zyx_vox)
        shift = position_zyx_vox - at
        density = rotate(template, rotation, shift)
        centre = template.box_vox // 2
        offsets = np.argwhere(occupied(density, template.interior * threshold, (centre,) * 3, template.voxel_size))
        offsets -= centre
        if not free_but_for(self.blocked, self.occupancy, membrane_id, offsets, at):
            return False
        slices = geometry.box_slices(tuple(at - centre), density.shape, self.shape)
        assert slices is not None
        lipids = self.occupancy[slices[0]] == membrane_id
        share = np.clip(density[slices[1]] / template.interior, 0, 1) * lipids
        self.density[slices[0]] *= 1 - share
        row = {**dict(zip(QUATERNION, rotation.as_quat(), strict=True)), **_named(template)}
        self.filled += self._write(density, offsets, at, centre, label_id, row, shift)
        return True

    def place_solid(self, solid: Solid, label_id: int, generator: np.random.Generator, tries: int) -> bool:
        """Place a vesicle or bead; a vesicle may stick out of the volume."""
        centre = solid.density.shape[0] // 2
        offsets = np.argwhere(solid.mask) - centre
        low, high = self._range(offsets, solid.may_stick_out)
        most = _CLIPPED_TRIES if solid.may_stick_out else None
        at = self._free_place(offsets, low, high, generator, tries, may_stick_out=solid.may_stick_out, most=most)
        if at is None:
            return False
        self._write(
            solid.density, offsets, at, centre, label_id, {"label": solid.label, "mass_kda": np.nan}, np.zeros(3)
        )
        return True

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

    def _range(self, offsets: Voxels, may_stick_out: bool) -> tuple[Voxels, Voxels]:
        """First and last voxel that a particle's centre may take; none if the last lies before the first."""
        low, high = self._bounds
        if may_stick_out or len(offsets) == 0:
            return low, high if len(offsets) else low - 1
        low = np.maximum(low, self.margin) - offsets.min(axis=0)
        high = np.minimum(high, np.array(self.shape) - 1 - self.margin) - offsets.max(axis=0)
        return np.ceil(low).astype(np.int64), np.floor(high).astype(np.int64)

    def _free_place(
        self,
        offsets: Voxels,
        low: Voxels,
        high: Voxels,
        generator: np.random.Generator,
        tries: int,
        *,
        may_stick_out: bool,
        most: int | None = None,
    ) -> Voxels | None:
        """A random voxel around which all offsets are free, None if none of the tries (the first ``most``) is."""
        if (high < low).any():
            return None
        places = generator.integers(low, high + 1, size=(tries, 3))[: most or tries]
        index = first_free(self.blocked, offsets, places, may_stick_out=may_stick_out)
        return None if index < 0 else np.asarray(places[index], dtype=np.int64)

    def _write(
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


def _named(template: Template) -> dict[str, object]:
    return {"label": template.name, "mass_kda": template.mass_kda}
