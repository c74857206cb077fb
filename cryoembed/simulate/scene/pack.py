"""Packing: how many particles of which species, placed from the largest to the smallest, never overlapping."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import MASK_THRESHOLD, Template
from cryoembed.simulate.scene.canvas import Canvas, Shape
from cryoembed.simulate.scene.crowding import Rules, check_species, place_counts, place_crowding, plan_counts
from cryoembed.simulate.scene.objects import gold_bead, vesicle
from cryoembed.simulate.scene.placing import place_solid
from cryoembed.simulate.scene.truth import Scene, shortfall

logger = logging.getLogger(__name__)


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
    `compose` makes richer samples; the scenes that networks train on come from here.

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
    if not templates:
        raise InputError("packing: no templates; give at least one species")
    check_species(templates, shape_zyx, voxel_size, margin)
    if (counts is None) == (crowding is None):
        raise InputError("packing: give either counts or crowding")
    if crowding is not None and not 0 < crowding < 1:
        raise InputError(f"packing: crowding {crowding} is no fraction of the volume between 0 and 1")
    classes = (*(t.name for t in templates), *(["vesicle"] * (vesicles > 0)), *(["fiducial"] * (fiducials > 0)))
    canvas = Canvas(shape_zyx, voxel_size, gap=gap, margin=margin, classes=classes)
    for _ in range(vesicles):
        _place_vesicle(canvas, canvas.label_id("vesicle"), generator, tries)
    for _ in range(fiducials):
        place_solid(canvas, gold_bead(generator, voxel_size), canvas.label_id("fiducial"), generator, tries)
    rules = Rules(threshold, tries)
    missed: dict[str, int] = {}
    if crowding is not None:
        chances = _chances(weights, len(templates))
        place_crowding(canvas, templates, chances, crowding * float(np.prod(shape_zyx)), generator, rules)
    else:
        missed = place_counts(canvas, templates, plan_counts(templates, counts), generator, rules)
    scene = Scene(
        canvas.density,
        canvas.class_mask,
        canvas.occupancy,
        canvas.particles(tomogram),
        classes,
        voxel_size,
        canvas.filled / float(np.prod(shape_zyx)),
        missed,
    )
    if (text := shortfall(scene, crowding)) is not None:
        logger.warning("%s: %s", tomogram, text)
    return scene


def _place_vesicle(canvas: Canvas, label_id: int, generator: np.random.Generator, tries: int) -> None:
    """Ever smaller vesicles until one fits beside those that are there."""
    for largest in (500.0, 350.0, 250.0, 150.0):
        solid = vesicle(generator, canvas.voxel_size, canvas.shape, radius_range=(100.0, largest))
        if place_solid(canvas, solid, label_id, generator, tries):
            return
    logger.warning("no place was found for one more vesicle; ask for fewer")


def _chances(weights: Sequence[float] | None, count: int) -> npt.NDArray[np.float64]:
    chances = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(chances) != count or (chances < 0).any() or not chances.sum() > 0:
        raise InputError(f"packing: expected {count} weights, none negative, got {list(chances)}")
    return np.asarray(chances / chances.sum(), dtype=np.float64)
