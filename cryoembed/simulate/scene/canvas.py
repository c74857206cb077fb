"""The volumes being filled: where a particle finds room, and what is written when it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cryoembed import geometry
from cryoembed.particles import QUATERNION, Particles
from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.template import Mask, Template, Volume, occupied, rotate
from cryoembed.simulate.scene.objects import Solid

Shape = tuple[int, int, int]
Stamp = tuple[Volume, Mask, tuple[float, float, float]]  # cubes (n, n, n) and their centre (zyx, voxels)
Voxels = npt.NDArray[np.int64]  # (n, 3) zyx
_PROBES = 48  # voxels of a particle looked up before all of them are
_ORIENTATIONS = 4  # tried before a particle is given up
_CLIPPED_TRIES = 20  # places tested for a vesicle, which is large and checked voxel by voxel
_COLUMNS = ("z", "y", "x", *QUATERNION, "label", "mass_kda")


class Canvas:
    """The volumes being filled. Not thread-safe; everything random comes from the generator passed in."""

    def __init__(self, shape: Shape, voxel_size: float, *, gap: float, margin: float) -> None:
        self.shape, self.voxel_size = shape, voxel_size
        self.margin, self.gap = margin / voxel_size, gap / voxel_size
        self.density: Volume = np.zeros(shape, dtype=np.float32)
        self.class_mask = np.zeros(shape, dtype=np.int16)
        self.occupancy = np.zeros(shape, dtype=np.int32)
        self.blocked = np.zeros(shape, dtype=np.bool_)  # occupied, or nearer than the gap to it
        self.rows: list[dict[str, object]] = []
        self.filled = 0
        self._chain: Volume | None = None  # density of the chain being placed

    def place(
        self, template: Template, label_id: int, generator: np.random.Generator, threshold: float, tries: int
    ) -> bool:
        """Find a free place for one more particle; False if there is none among those tried."""
        for _ in range(_ORIENTATIONS):
            rotation = random_rotations(1, generator)[0]
            shift = generator.uniform(-0.5, 0.5, size=3)
            density = rotate(template, rotation, shift)
            centre = template.box_vox // 2
            mask = occupied(density, template.interior * threshold, (centre,) * 3, template.voxel_size)
            offsets = np.argwhere(mask) - centre
            at = self._free_place(offsets, generator, tries)
            if at is None:
                continue
            row = dict(zip(QUATERNION, rotation.as_quat(), strict=True))
            self._write(
                density,
                offsets,
                at,
                centre,
                label_id,
                {**row, "label": template.name, "mass_kda": template.mass_kda},
                shift,
            )
            self.filled += len(offsets)
            return True
        return False

    def place_solid(self, solid: Solid, label_id: int, generator: np.random.Generator, tries: int) -> bool:
        """Place a vesicle or bead; a vesicle may stick out of the volume."""
        centre = solid.density.shape[0] // 2
        offsets = np.argwhere(solid.mask) - centre
        at = self._free_place(offsets, generator, tries, may_stick_out=solid.may_stick_out)
        if at is None:
            return False
        self._write(
            solid.density, offsets, at, centre, label_id, {"label": solid.label, "mass_kda": np.nan}, np.zeros(3)
        )
        return True

    def place_stamps(
        self,
        stamps: Sequence[Stamp],
        label_id: int,
        row: dict[str, object],
        *,
        may_stick_out: bool = False,
        overlap: Literal["max", "add"] = "max",
    ) -> bool:
        """Place a chain of stamps (a filament) as one object under one id; False, and nothing written, if it can't be.

        Parameters
        ----------
        stamps
            Each a density cube, a mask cube and the centre (zyx, voxels) where index ``n // 2`` goes. Cubes land on
            the nearest voxel: render them with the sub-voxel rest, ``centre - floor(centre + 0.5)``.
        label_id
            Class number.
        row
            ``label`` and the anchor ``z, y, x`` in A (a point on the object, inside the volume), and what else is known.
        may_stick_out
            Whether mask voxels may lie outside of the volume (they are cut off; some must lie inside).
        overlap
            Density where stamps of this chain overlap: the larger (segments that share a joint), or their sum.
        """
        masks = []
        for _, mask, centre in stamps:
            at = np.floor(np.asarray(centre) + 0.5).astype(np.int64)
            voxels = np.argwhere(mask) - mask.shape[0] // 2 + at
            inside = voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)]
            if (len(inside) < len(voxels) and not may_stick_out) or self.blocked[tuple(inside.T)].any():
                return False
            masks.append(inside)
        if not any(map(len, masks)):
            return False
        self._add_chain(stamps, overlap)
        self.rows.append(dict(row))
        for inside in masks:
            index = tuple(inside.T)
            self.occupancy[index] = len(self.rows)
            self.class_mask[index] = label_id
            self.blocked[index] = True
        for inside in masks:
            if self.gap > 0 and len(inside):
                self._block_around(inside)
        return True

    def _add_chain(self, stamps: Sequence[Stamp], overlap: Literal["max", "add"]) -> None:
        if self._chain is None and overlap == "max":
            self._chain = np.zeros(self.shape, dtype=np.float32)
        windows = []
        for density, _, centre in stamps:
            at = np.floor(np.asarray(centre) + 0.5).astype(np.int64)
            slices = geometry.box_slices(tuple(at - density.shape[0] // 2), density.shape, self.shape)
            if slices is None:
                continue
            new = density[slices[1]]
            if overlap == "max":
                assert self._chain is not None
                own = self._chain[slices[0]]
                new = np.maximum(new - own, 0)
                own += new
                windows.append(slices[0])
            self.density[slices[0]] += new
        for window in windows:
            assert self._chain is not None
            self._chain[window] = 0

    def _free_place(
        self, offsets: Voxels, generator: np.random.Generator, tries: int, *, may_stick_out: bool = False
    ) -> Voxels | None:
        """A random voxel around which all offsets are free, None if no try found one."""
        size = np.array(self.shape)
        low, high = -offsets.min(axis=0) + self.margin, size - 1 - offsets.max(axis=0) - self.margin
        if may_stick_out:
            low, high = np.zeros(3), size - 1.0
        low, high = np.ceil(low).astype(np.int64), np.floor(high).astype(np.int64)
        if len(offsets) == 0 or (high < low).any():
            return None
        places = generator.integers(low, high + 1, size=(tries, 3))
        if may_stick_out:
            return self._first_free_clipped(offsets, places[:_CLIPPED_TRIES])
        strides = np.array([self.shape[1] * self.shape[2], self.shape[2], 1])
        flat_offsets, flat_places, blocked = offsets @ strides, places @ strides, self.blocked.reshape(-1)
        probes = flat_offsets[:: max(1, len(flat_offsets) // _PROBES)]
        maybe = np.flatnonzero(~blocked[flat_places[:, None] + probes].any(axis=1))
        for index in maybe:
            if not blocked[flat_places[index] + flat_offsets].any():
                return np.asarray(places[index], dtype=np.int64)
        return None

    def _first_free_clipped(self, offsets: Voxels, places: Voxels) -> Voxels | None:
        for place in places:
            voxels = offsets + place
            inside = voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)]
            if len(inside) and not self.blocked[tuple(inside.T)].any():
                return np.asarray(place, dtype=np.int64)
        return None

    def _write(
        self,
        density: Volume,
        offsets: Voxels,
        at: Voxels,
        centre: int,
        label_id: int,
        row: dict[str, object],
        shift: npt.NDArray[np.float64],
    ) -> None:
        slices = geometry.box_slices(tuple(at - centre), density.shape, self.shape)
        if slices is not None:
            self.density[slices[0]] += density[slices[1]]
        voxels = offsets + at
        index = tuple(voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)].T)
        self.rows.append({**dict(zip("zyx", (at + shift) * self.voxel_size, strict=True)), **row})
        self.occupancy[index] = len(self.rows)
        self.class_mask[index] = label_id
        self.blocked[index] = True
        if self.gap > 0:
            self._block_around(np.stack(index, axis=1))

    def _block_around(self, voxels: Voxels) -> None:
        """Block what is nearer than the gap to these voxels."""
        reach = int(np.ceil(self.gap))
        low = np.maximum(voxels.min(axis=0) - reach, 0)
        high = np.minimum(voxels.max(axis=0) + reach + 1, self.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        free = np.ones(tuple(high - low), dtype=np.bool_)
        free[tuple((voxels - low).T)] = False
        self.blocked[window] |= ndimage.distance_transform_edt(free) <= self.gap

    def particles(self, tomogram: str) -> Particles:
        """The rows written so far; ``instance`` is the occupancy id."""
        table = pd.DataFrame({name: [row.get(name, np.nan) for row in self.rows] for name in _COLUMNS})
        table.insert(0, "tomogram", tomogram)
        return Particles(table.assign(instance=np.arange(1, len(table) + 1)))
