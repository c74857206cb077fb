"""Microtubules and actin in a sample: how many, how long and how bent, and where they find room."""

from __future__ import annotations

import logging
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Mask, Template
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.lattices import ACTIN_RADIUS, STARTS, WALL, actin, microtubule, microtubule_radius
from cryoembed.simulate.scene.paths import Path, smooth_path
from cryoembed.simulate.scene.strand import write_strand
from cryoembed.simulate.scene.tubes import tube_is_free
from cryoembed.simulate.scene.worm_like import worm_like_chain

logger = logging.getLogger(__name__)
Kind = Literal["microtubule", "actin"]

# A (Gittes et al. 1993, J. Cell Biol. 120:923: 5 mm and 17 um; in cells microtubules bend more: Brangwynne et al. 2006)
PERSISTENCE: dict[Kind, float] = {"microtubule": 1e7, "actin": 1.5e5}
_TRIES = 200
_SHORTEST = 300.0  # A of a filament that the faces cut: a corner crossed by less is drawn again
_NODE_STEP = 100.0  # A between the nodes of a stiff path


class FilamentSpec(Config):
    """Filaments of one kind. ``length`` None: from face to face, cut off where they leave the volume.

    ``structure`` names a species whose template is the subunit: a tubulin dimer with its protofilament along z (alpha
    below) and the outside of the tube at +x, or an actin subunit with the filament's axis along z and its own centre
    at +x; None takes the built-in pseudo-atoms.
    """

    kind: Kind
    count: tuple[int, int] = (1, 3)  # per model
    length: tuple[float, float] | None = None  # A
    persistence: float | None = Field(default=None, gt=0)  # A; None: 1 mm (microtubule), 15 um (actin)
    max_tilt_deg: float = Field(default=20.0, ge=0, le=90)  # out of the plane of the section
    protofilaments: tuple[int, ...] = (13,)  # of microtubules; drawn for each
    structure: str | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 <= self.count[0] <= self.count[1]:
            raise ValueError(f"count {self.count}: expected a range of counts")
        if self.length is not None and not 0 < self.length[0] <= self.length[1]:
            raise ValueError(f"length {self.length}: expected a rising range of positive lengths in A")
        if not self.protofilaments or not set(self.protofilaments) <= set(STARTS):
            raise ValueError(f"protofilaments {self.protofilaments}: expected numbers from 10 to 15")
        return self


def place_filaments(
    canvas: Canvas,
    spec: FilamentSpec,
    generator: np.random.Generator,
    *,
    resolution: float,
    subunit: Template | None = None,
    room: Mask | None = None,
) -> int:
    """Place the filaments of a spec where they find room; how many found none.

    Parameters
    ----------
    resolution
        A, of the density.
    subunit
        A template instead of the built-in pseudo-atoms.
    room
        (z, y, x) where the sample is; filaments that run from face to face end at its borders.

    Raises
    ------
    InputError
        If the spec's length exceeds the volume, or is too short for one subunit.
    """
    missed = 0
    for _ in range(int(generator.integers(spec.count[0], spec.count[1] + 1))):
        protofilaments = int(generator.choice(spec.protofilaments))
        radius = ACTIN_RADIUS if spec.kind == "actin" else microtubule_radius(protofilaments) + WALL / 2
        path = _free_path(canvas, spec, radius, generator, room)
        if path is None:
            missed += 1
        elif spec.kind == "actin":
            write_strand(canvas, actin(path, subunit=subunit), resolution)
        else:
            write_strand(canvas, microtubule(path, protofilaments=protofilaments, subunit=subunit), resolution)
    if missed:
        logger.warning("no place was found for %d of the %ss; ask for fewer or shorter ones", missed, spec.kind)
    return missed


def stiff_path(
    spec: FilamentSpec, shape: tuple[int, int, int], voxel_size: float, generator: np.random.Generator
) -> Path:
    """A nearly straight path through a random point of the volume, as long as the spec says.

    Raises
    ------
    InputError
        If it could not lie in the volume in any orientation.
    """
    size = (np.array(shape) - 1) * voxel_size
    diagonal = float(np.linalg.norm(size))
    length = 2 * diagonal if spec.length is None else generator.uniform(*spec.length)
    if spec.length is not None and length > diagonal:
        raise InputError(
            f"a {spec.kind} of {length:.0f} A does not fit into {' x '.join(f'{s:.0f}' for s in size)} A; "
            "shorten length, enlarge the volume, or leave length out: from face to face"
        )
    tilt = np.arcsin(generator.uniform(-1, 1) * np.sin(np.deg2rad(spec.max_tilt_deg)))
    turn = generator.uniform(0, 2 * np.pi)
    direction = np.array([np.sin(tilt), np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn)])
    steps = max(2, int(np.ceil(length / _NODE_STEP)))
    persistence = spec.persistence or PERSISTENCE[spec.kind]
    nodes = worm_like_chain(steps, length / steps, persistence, generator, direction=direction)
    nodes += generator.uniform(0, size) - nodes[len(nodes) // 2]
    phase = generator.normal(size=3)  # of the helix about the axis
    return smooth_path(nodes, first_normal=phase)


def _free_path(
    canvas: Canvas, spec: FilamentSpec, radius: float, generator: np.random.Generator, room: Mask | None
) -> Path | None:
    cut = spec.length is None
    for _ in range(_TRIES):
        path = stiff_path(spec, canvas.shape, canvas.voxel_size, generator)
        path = _visible(path, canvas, radius, room) if cut else path
        if cut and path.length < _SHORTEST:
            continue
        if tube_is_free(canvas.blocked, path, radius, canvas.voxel_size, may_stick_out=cut):
            return path
    return None


def _visible(path: Path, canvas: Canvas, radius: float, room: Mask | None) -> Path:
    """The stretch around the middle whose tube touches the volume and lies in the room."""
    size = (np.array(canvas.shape) - 1) * canvas.voxel_size
    inside = np.all((path.points > -radius) & (path.points < size + radius), axis=1)
    if room is not None:
        turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        _, frames = path.at(np.arange(len(path.points)) * path.spacing)
        rim = np.stack([0 * turns, np.sin(turns), np.cos(turns)]) * radius
        index = np.floor((path.points[:, :, None] + frames @ rim) / canvas.voxel_size + 0.5).astype(np.int64)
        clipped = np.clip(index, 0, np.array(canvas.shape)[:, None] - 1)
        inside &= room[clipped[:, 0], clipped[:, 1], clipped[:, 2]].all(axis=1)
    middle = len(inside) // 2
    after = np.flatnonzero(~inside[middle:])
    before = np.flatnonzero(~inside[:middle])
    low = before[-1] + 1 if len(before) else 0
    high = middle + after[0] if len(after) else len(inside)
    return Path(path.points[low:high], path.spacing, path.first_normal)
