"""Packing: particles at random poses without overlap, vesicles and gold between them, and the truth of it all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cryoembed import geometry
from cryoembed.errors import InputError
from cryoembed.particles import QUATERNION, Particles
from cryoembed.rotations import random_rotations
from cryoembed.simulate.objects import Solid, gold_bead, vesicle
from cryoembed.simulate.template import MASK_THRESHOLD, Mask, Template, Volume, occupied, rotate

logger = logging.getLogger(__name__)

Shape = tuple[int, int, int]
_PROBES = 48  # voxels of a particle looked up before all of them are
_ORIENTATIONS = 4  # tried before a particle is given up
_GIVE_UP = 25  # failed top-up particles in a row after which the volume counts as full


@dataclass(frozen=True, eq=False)
class Scene:
    """A sample before imaging, with its truth.

    Parameters
    ----------
    density
        (z, y, x) float32; particles bright on 0 (solvent).
    class_mask
        (z, y, x) int16; 0 background, else 1 + index into ``classes``.
    occupancy_mask
        (z, y, x) int32; 0 background, else 1 + row in ``particles``.
    particles
        Rows in order of placing (the largest first), positions in A of each centre of mass, rotations (NaN for
        vesicles and fiducials), ``label``, ``mass_kda`` (NaN for those).
    classes
        Labels in order of their class number.
    crowding
        Volume fraction inside the masks of macromolecules.
    missed
        Label -> how many asked-for particles found no place.
    """

    density: Volume
    class_mask: npt.NDArray[np.int16]
    occupancy_mask: npt.NDArray[np.int32]
    particles: Particles
    classes: tuple[str, ...]
    voxel_size: float
    crowding: float
    missed: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_macromolecule(self) -> npt.NDArray[np.bool_]:
        """(n,) rows that have an orientation: not vesicles or fiducials."""
        return np.isfinite(self.particles.column("qx", np.nan).astype(np.float64))

    def macromolecule_mask(self) -> Mask:
        """(z, y, x) voxels that belong to a macromolecule."""
        keep = np.concatenate([[False], self.is_macromolecule])
        return np.asarray(keep[self.occupancy_mask], dtype=np.bool_)


def pack(
    templates: Sequence[Template],
    shape_zyx: Shape,
    voxel_size: float,
    generator: np.random.Generator,
    *,
    counts: Mapping[str, int] | Sequence[int] | None = None,
    crowding: float | None = None,
    weights: Sequence[float] | None = None,
    margin: float = 0.0,
    gap: float = 0.0,
    vesicles: int = 0,
    fiducials: int = 0,
    threshold: float = MASK_THRESHOLD,
    tries: int = 2000,
    tomogram: str = "model_0",
) -> Scene:
    """Fill a volume with particles at random orientations and sub-voxel positions; masks may touch, never overlap.

    Vesicles first, gold next, then the macromolecules from the largest to the smallest (SHREC 2021 and CryoETSim).

    Parameters
    ----------
    counts
        Particles per template, by name or in order; or
    crowding
        the fraction of the volume their masks shall fill, species drawn by ``weights`` (default uniform).
    margin
        A between masks and the faces of the volume. Vesicles may stick out.
    gap
        A kept free around every mask (0: touching is allowed).
    threshold
        Of a template's interior density: what counts as occupied.
    tries
        Positions tested per orientation, four orientations per particle.
    tomogram
        Name in the particle table.

    Raises
    ------
    InputError
        If the arguments contradict each other, voxel sizes differ, or a particle is larger than the volume.
        Crowding that can't be reached is no error: the scene says what was reached, and a warning is logged.
    """
    _check(templates, shape_zyx, voxel_size, margin)
    if (counts is None) == (crowding is None):
        raise InputError("packing: give either counts or crowding")
    if crowding is not None and not 0 < crowding < 1:
        raise InputError(f"packing: crowding {crowding} is no fraction of the volume between 0 and 1")
    canvas = _Canvas(shape_zyx, voxel_size, gap=gap, margin=margin)
    classes = (*(t.name for t in templates), *(["vesicle"] * (vesicles > 0)), *(["fiducial"] * (fiducials > 0)))
    for _ in range(vesicles):
        canvas.place_solid(vesicle(generator, voxel_size, shape_zyx), classes.index("vesicle") + 1, generator, tries)
    for _ in range(fiducials):
        canvas.place_solid(gold_bead(generator, voxel_size), classes.index("fiducial") + 1, generator, tries)

    volumes = np.array([t.mask(threshold).sum() for t in templates], dtype=np.float64)
    chances = _chances(weights, len(templates))
    goal = None if crowding is None else crowding * np.prod(shape_zyx)
    plan = _plan_counts(templates, counts) if goal is None else _plan_crowding(volumes, chances, goal, generator)
    missed: dict[str, int] = {}
    for index in sorted(plan, key=lambda i: -volumes[i]):
        if not canvas.place(templates[index], index + 1, generator, threshold, tries):
            missed[templates[index].name] = missed.get(templates[index].name, 0) + 1
    failures = 0
    while goal is not None and canvas.filled < goal and failures < _GIVE_UP:
        index = int(generator.choice(len(templates), p=chances))
        failures = 0 if canvas.place(templates[index], index + 1, generator, threshold, tries) else failures + 1
    scene = canvas.scene(tomogram, classes, missed if goal is None else {})
    if (text := shortfall(scene, crowding)) is not None:
        logger.warning("%s: %s", tomogram, text)
    return scene


def shortfall(scene: Scene, crowding: float | None) -> str | None:
    """What a scene lacks of what was asked, in words; None if nothing (a particle's volume below is nothing)."""
    if scene.missed:
        lacking = ", ".join(f"{count} {name}" for name, count in scene.missed.items())
        return f"no place was found for {lacking}; the volume is filled to {scene.crowding:.3f}"
    if crowding is not None and scene.crowding < 0.95 * crowding:
        return f"crowding {crowding:.3f} can't be reached: {scene.crowding:.3f} was; ask for less, or smaller species"
    return None


def truth_is_consistent(scene: Scene) -> npt.NDArray[np.bool_]:
    """(n,) whether each row's own id stands in the occupancy mask at the voxel nearest to its position.

    True of every macromolecule and bead; a vesicle's centre is its lumen, where other particles may be.
    """
    nearest = geometry.nearest_voxel(geometry.angstrom_to_voxel(scene.particles.positions_zyx, scene.voxel_size))
    inside = np.all((nearest >= 0) & (nearest < scene.occupancy_mask.shape), axis=1)
    ids = np.zeros(len(nearest), dtype=np.int64)
    ids[inside] = scene.occupancy_mask[tuple(nearest[inside].T)]
    return ids == np.arange(1, len(nearest) + 1)


class _Canvas:
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
            self._write(density, offsets, at, centre, label_id, {**row, "label": template.name, "mass_kda": template.mass_kda}, shift)
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
        self._write(solid.density, offsets, at, centre, label_id, {"label": solid.label, "mass_kda": np.nan}, np.zeros(3))
        return True

    def _free_place(
        self, offsets: npt.NDArray[np.int64], generator: np.random.Generator, tries: int, *, may_stick_out: bool = False
    ) -> npt.NDArray[np.int64] | None:
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
            return self._first_free_clipped(offsets, places[:20])
        strides = np.array([self.shape[1] * self.shape[2], self.shape[2], 1])
        flat_offsets, flat_places, blocked = offsets @ strides, places @ strides, self.blocked.reshape(-1)
        probes = flat_offsets[:: max(1, len(flat_offsets) // _PROBES)]
        maybe = np.flatnonzero(~blocked[flat_places[:, None] + probes].any(axis=1))
        for index in maybe:
            if not blocked[flat_places[index] + flat_offsets].any():
                return np.asarray(places[index], dtype=np.int64)
        return None

    def _first_free_clipped(
        self, offsets: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64] | None:
        for place in places:
            voxels = offsets + place
            inside = voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)]
            if len(inside) and not self.blocked[tuple(inside.T)].any():
                return place
        return None

    def _write(
        self,
        density: Volume,
        offsets: npt.NDArray[np.int64],
        at: npt.NDArray[np.int64],
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

    def _block_around(self, voxels: npt.NDArray[np.int64]) -> None:
        """Block what is nearer than the gap to these voxels."""
        from scipy import ndimage

        reach = int(np.ceil(self.gap))
        low = np.maximum(voxels.min(axis=0) - reach, 0)
        high = np.minimum(voxels.max(axis=0) + reach + 1, self.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        free = np.ones(tuple(high - low), dtype=np.bool_)
        free[tuple((voxels - low).T)] = False
        self.blocked[window] |= ndimage.distance_transform_edt(free) <= self.gap

    def scene(self, tomogram: str, classes: tuple[str, ...], missed: Mapping[str, int]) -> Scene:
        """Freeze what was placed."""
        columns = ("z", "y", "x", *QUATERNION, "label", "mass_kda")
        table = {name: [row.get(name, np.nan) for row in self.rows] for name in columns}
        positions = np.array([table.pop(axis) for axis in "zyx"], dtype=np.float64).T.reshape(-1, 3)
        particles = Particles.from_arrays(tomogram, positions, **table)
        crowding = self.filled / float(np.prod(self.shape))
        return Scene(
            self.density, self.class_mask, self.occupancy, particles, classes, self.voxel_size, crowding, missed
        )


def _check(templates: Sequence[Template], shape: Shape, voxel_size: float, margin: float) -> None:
    if not templates:
        raise InputError("packing: no templates; give at least one species")
    names = [template.name for template in templates]
    if len(set(names)) < len(names):
        raise InputError(f"packing: species need different names, got {', '.join(names)}")
    for template in templates:
        if not np.isclose(template.voxel_size, voxel_size, rtol=1e-3):
            raise InputError(f"template {template.name} has {template.voxel_size} A voxels, the volume {voxel_size} A")
        room = min(shape) * voxel_size - 2 * margin
        # the narrowest way through: a long rod fits lying down, which some random orientation will find
        extent = np.ptp(np.argwhere(template.mask()), axis=0).min() * voxel_size
        if extent > room:
            raise InputError(
                f"box of {min(shape)} voxels ({room:.0f} A inside the margin) is smaller than the particle "
                f"{template.name} ({extent:.0f} A); make the volume larger or leave the species out"
            )


def _chances(weights: Sequence[float] | None, count: int) -> npt.NDArray[np.float64]:
    chances = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(chances) != count or (chances < 0).any() or not chances.sum() > 0:
        raise InputError(f"packing: expected {count} weights, none negative, got {list(chances)}")
    return np.asarray(chances / chances.sum(), dtype=np.float64)


def _plan_counts(templates: Sequence[Template], counts: Mapping[str, int] | Sequence[int] | None) -> list[int]:
    names = [template.name for template in templates]
    if isinstance(counts, Mapping):
        if unknown := sorted(set(counts) - set(names)):
            raise InputError(f"packing: counts for unknown species {', '.join(unknown)}; known: {', '.join(names)}")
        numbers = [int(counts.get(name, 0)) for name in names]
    else:
        numbers = [int(number) for number in counts or ()]
        if len(numbers) != len(names):
            raise InputError(f"packing: expected {len(names)} counts, one per template, got {len(numbers)}")
    return [index for index, number in enumerate(numbers) for _ in range(number)]


def _plan_crowding(
    volumes: npt.NDArray[np.float64], chances: npt.NDArray[np.float64], goal: float, generator: np.random.Generator
) -> list[int]:
    """Species drawn until their masks would fill the goal."""
    plan: list[int] = []
    total = 0.0
    while total < goal:
        index = int(generator.choice(len(volumes), p=chances))
        total += volumes[index]
        plan.append(index)
    return plan
