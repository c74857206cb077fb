"""Membrane proteins: upright in the surfaces of membranes, in place of the lipids, clear of everything else."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.membrane_voxels import Membrane
from cryoembed.simulate.scene.placing import place_embedded

logger = logging.getLogger(__name__)

_TRIES = 40  # poses per protein
_GIVE_UP = 10  # proteins in a row that found no place


def place_membrane_proteins(
    canvas: Canvas,
    templates: Sequence[Template],
    plan: Sequence[int],
    membranes: Sequence[Membrane],
    generator: np.random.Generator,
    *,
    threshold: float,
) -> dict[str, int]:
    """Place proteins (indices of templates, the largest first) at random on membranes; label -> how many found no place.

    The template's z axis points out of vesicles and cells, either way on sheets; the turn about it is random. The
    template's origin (``origin_offset_zyx`` from its centre of mass) lies on the middle of the membrane. Proteins take
    the place of lipids (PolNet draws them over each other by maximum).
    """
    missed: dict[str, int] = {}
    failures = 0
    for done, index in enumerate(sorted(plan, key=lambda i: -templates[i].mass_kda)):
        template = templates[index]
        if membranes and failures < _GIVE_UP and _place(canvas, template, membranes, generator, threshold):
            failures = 0
            continue
        failures += 1
        missed[template.name] = missed.get(template.name, 0) + 1
        if failures == _GIVE_UP:
            logger.info("membranes are full after %d of %d membrane proteins", done + 1 - failures, len(plan))
    return missed


def area_um2(membranes: Sequence[Membrane], voxel_size: float) -> float:
    """Area of the membranes' middles inside the volume: as many voxels as they run through."""
    return sum(len(one.middle) for one in membranes) * (voxel_size * 1e-4) ** 2


def _place(
    canvas: Canvas,
    template: Template,
    membranes: Sequence[Membrane],
    generator: np.random.Generator,
    threshold: float,
) -> bool:
    """Try poses at points drawn by area."""
    ends = np.cumsum([len(one.middle) for one in membranes])
    picks = generator.integers(ends[-1], size=_TRIES)
    jitter = generator.uniform(-0.5, 0.5, size=(_TRIES, 3))
    flips = generator.random(_TRIES) < 0.5
    turns = generator.uniform(0, 2 * np.pi, size=_TRIES)
    chosen = np.searchsorted(ends, picks, side="right")
    for number, membrane in enumerate(membranes):
        picks[chosen == number] -= ends[number] - len(membrane.middle)
    points, normals = np.zeros((_TRIES, 3)), np.zeros((_TRIES, 3))
    for number in np.unique(chosen):
        mine, membrane = chosen == number, membranes[number]
        near = (membrane.middle[picks[mine]] + jitter[mine]) * canvas.voxel_size
        points[mine] = membrane.surface.projected(near)
        normals[mine] = membrane.surface.normals(points[mine])
        if membrane.two_sided:
            normals[mine] *= np.where(flips[mine], -1, 1)[:, None]
    for point, normal, turn, number in zip(points, normals, turns, chosen, strict=True):
        rotation = upright(normal, turn)
        position = (point - rotation.apply(template.origin_offset_zyx[::-1])[::-1]) / canvas.voxel_size
        nearest = np.floor(position + 0.5).astype(np.int64)
        if (nearest < 0).any() or (nearest >= canvas.shape).any():
            continue
        at, instance = tuple(nearest), membranes[number].instance
        if canvas.blocked[at] and canvas.occupancy[at] != instance:
            continue
        label_id = canvas.label_id(template.name)
        if place_embedded(canvas, template, label_id, rotation, position, threshold, instance):
            return True
    return False


def upright(normal_zyx: npt.NDArray[np.float64], turn: float) -> Rotation:
    """The rotation (particle to tomogram) that lays z along a unit normal (zyx), after a turn (rad) about z."""
    x, y, z = normal_zyx[::-1]
    tilt, azimuth = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    return Rotation.from_euler("ZYZ", [azimuth, tilt, turn])
