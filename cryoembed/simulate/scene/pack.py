"""Packing: particles at random poses without overlap, vesicles and gold between them, and the truth of it all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import MASK_THRESHOLD, Template
from cryoembed.simulate.scene.canvas import Canvas, Shape
from cryoembed.simulate.scene.objects import gold_bead, vesicle
from cryoembed.simulate.scene.truth import Scene, shortfall

logger = logging.getLogger(__name__)

_GIVE_UP = 25  # failed top-up particles in a row after which the volume counts as full


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
    canvas = Canvas(shape_zyx, voxel_size, gap=gap, margin=margin)
    classes = (*(t.name for t in templates), *(["vesicle"] * (vesicles > 0)), *(["fiducial"] * (fiducials > 0)))
    for _ in range(vesicles):
        _place_vesicle(canvas, classes.index("vesicle") + 1, generator, tries)
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
    scene = Scene(
        canvas.density,
        canvas.class_mask,
        canvas.occupancy,
        canvas.particles(tomogram),
        classes,
        voxel_size,
        canvas.filled / float(np.prod(shape_zyx)),
        missed if goal is None else {},
    )
    if (text := shortfall(scene, crowding)) is not None:
        logger.warning("%s: %s", tomogram, text)
    return scene


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


def _place_vesicle(canvas: Canvas, label_id: int, generator: np.random.Generator, tries: int) -> None:
    """Ever smaller vesicles until one fits beside those that are there."""
    for largest in (500.0, 350.0, 250.0, 150.0):
        solid = vesicle(generator, canvas.voxel_size, canvas.shape, radius_range=(100.0, largest))
        if canvas.place_solid(solid, label_id, generator, tries):
            return
    logger.warning("no place was found for one more vesicle; ask for fewer")


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
