"""Where a particle finds room on a canvas: random places, then every voxel; poses in membranes; vesicles and beads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryoembed import geometry
from cryoembed.particles import QUATERNION
from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.template import Template, occupied, rotate
from cryoembed.simulate.scene.canvas import Canvas, Voxels
from cryoembed.simulate.scene.objects import Solid
from cryoembed.simulate.scene.search import any_free, first_free, free_but_for

_ORIENTATIONS = 4  # tried before a particle is given up
_SCANS = 2  # orientations for which every voxel is looked at
_CLIPPED_TRIES = 20  # places tested for a vesicle, which is large and checked voxel by voxel


def place(
    canvas: Canvas,
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
        low, high = _range(canvas, offsets, may_stick_out)
        if orientation < _ORIENTATIONS:
            at = _free_place(canvas, offsets, low, high, generator, tries, may_stick_out=may_stick_out)
        else:
            at = any_free(canvas.blocked, offsets, low, high, generator, may_stick_out=may_stick_out)
        if at is None:
            continue
        row = {**dict(zip(QUATERNION, rotation.as_quat(), strict=True)), **_named(template)}
        canvas.filled += canvas.write(density, offsets, at, centre, label_id, row, shift)
        return True
    return False


def place_embedded(
    canvas: Canvas,
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
    if not free_but_for(canvas.blocked, canvas.occupancy, membrane_id, offsets, at):
        return False
    slices = geometry.box_slices(tuple(at - centre), density.shape, canvas.shape)
    assert slices is not None
    lipids = canvas.occupancy[slices[0]] == membrane_id
    share = np.clip(density[slices[1]] / template.interior, 0, 1) * lipids
    canvas.density[slices[0]] *= 1 - share
    row = {**dict(zip(QUATERNION, rotation.as_quat(), strict=True)), **_named(template)}
    canvas.filled += canvas.write(density, offsets, at, centre, label_id, row, shift)
    return True


def place_solid(canvas: Canvas, solid: Solid, label_id: int, generator: np.random.Generator, tries: int) -> bool:
    """Place a vesicle or bead; a vesicle may stick out of the volume."""
    centre = solid.density.shape[0] // 2
    offsets = np.argwhere(solid.mask) - centre
    low, high = _range(canvas, offsets, solid.may_stick_out)
    most = _CLIPPED_TRIES if solid.may_stick_out else None
    at = _free_place(canvas, offsets, low, high, generator, tries, may_stick_out=solid.may_stick_out, most=most)
    if at is None:
        return False
    canvas.write(solid.density, offsets, at, centre, label_id, {"label": solid.label, "mass_kda": np.nan}, np.zeros(3))
    return True


def _range(canvas: Canvas, offsets: Voxels, may_stick_out: bool) -> tuple[Voxels, Voxels]:
    """First and last voxel that a particle's centre may take; none if the last lies before the first."""
    low, high = canvas.bounds
    if may_stick_out or len(offsets) == 0:
        return low, high if len(offsets) else low - 1
    low = np.maximum(low, canvas.margin) - offsets.min(axis=0)
    high = np.minimum(high, np.array(canvas.shape) - 1 - canvas.margin) - offsets.max(axis=0)
    return np.ceil(low).astype(np.int64), np.floor(high).astype(np.int64)


def _free_place(
    canvas: Canvas,
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
    index = first_free(canvas.blocked, offsets, places, may_stick_out=may_stick_out)
    return None if index < 0 else np.asarray(places[index], dtype=np.int64)


def _named(template: Template) -> dict[str, object]:
    return {"label": template.name, "mass_kda": template.mass_kda}
