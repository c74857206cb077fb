"""Which species are placed, how often and in which order, and when to stop looking for room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.particles import is_molecule
from cryoembed.simulate.density.template import MASK_THRESHOLD, Template
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.placing import place

# CryoETSim's size classes (thesis, figure 9a): very big, big, medium, small, tiny; lower bounds in kDa
SIZE_CLASSES_KDA = (1000.0, 600.0, 200.0, 40.0, 0.0)
_GIVE_UP = 25  # failed top-up particles in a row after which the volume counts as full


@dataclass(frozen=True)
class Rules:
    """How places are looked for.

    Parameters
    ----------
    threshold
        Of a template's interior density: what counts as occupied.
    tries
        Positions tested per orientation, four orientations per particle.
    exhaustive
        Whether every voxel is looked at once the tries have failed; a species that then finds no place is given up.
    stick_out
        Whether the faces of the volume may cut a particle.
    """

    threshold: float = MASK_THRESHOLD
    tries: int = 2000
    exhaustive: bool = False
    stick_out: bool = False


def place_counts(
    canvas: Canvas, templates: Sequence[Template], plan: Sequence[int], generator: np.random.Generator, rules: Rules
) -> dict[str, int]:
    """Place what was planned (indices of templates), the largest first; label -> how many found no place."""
    volumes = mask_volumes(templates, rules)
    missed: dict[str, int] = {}
    full: set[int] = set()
    for index in sorted(plan, key=lambda i: -volumes[i]):
        template = templates[index]
        if index in full or not _place(canvas, template, generator, rules):
            missed[template.name] = missed.get(template.name, 0) + 1
            if rules.exhaustive:
                full.add(index)
    return missed


def place_crowding(
    canvas: Canvas,
    templates: Sequence[Template],
    chances: npt.NDArray[np.float64],
    goal: float,
    generator: np.random.Generator,
    rules: Rules,
) -> None:
    """Place particles drawn by ``chances`` until their masks fill ``goal`` voxels, or nothing more finds a place."""
    volumes = mask_volumes(templates, rules)
    full = np.zeros(len(templates), dtype=np.bool_)
    for index in sorted(_plan_crowding(volumes, chances, goal, generator), key=lambda i: -volumes[i]):
        if not full[index] and not _place(canvas, templates[index], generator, rules):
            full[index] = rules.exhaustive
    failures = 0
    while canvas.filled < goal and failures < _GIVE_UP and (open_ := np.where(full, 0, chances)).any():
        index = int(generator.choice(len(templates), p=open_ / open_.sum() if full.any() else chances))
        placed = _place(canvas, templates[index], generator, rules)
        failures = 0 if placed or rules.exhaustive else failures + 1
        full[index] = rules.exhaustive and not placed


def mask_volumes(templates: Sequence[Template], rules: Rules) -> npt.NDArray[np.float64]:
    """(n,) voxels that a particle of each template occupies."""
    return np.array([template.mask(rules.threshold).sum() for template in templates], dtype=np.float64)


def size_chances(
    templates: Sequence[Template], shares: Sequence[float] | None, rules: Rules
) -> npt.NDArray[np.float64]:
    """(n,) chance of each species per draw, so that the size classes take these shares of the filled volume.

    Parameters
    ----------
    shares
        One per class of `SIZE_CLASSES_KDA`, the biggest first, in any scale; classes without species give theirs to
        the others, species of one class share alike. None: every species is as likely as any other. With equal
        shares the number of particles rises as their size falls, as in CryoETSim's general sample (figure 9b).

    Raises
    ------
    InputError
        If no species belongs to a class with a share.
    """
    if shares is None:
        return np.full(len(templates), 1 / len(templates))
    volumes = mask_volumes(templates, rules)
    of = np.array([next(i for i, low in enumerate(SIZE_CLASSES_KDA) if t.mass_kda > low) for t in templates])
    chances = np.asarray(shares, dtype=np.float64)[of] / np.bincount(of, minlength=len(SIZE_CLASSES_KDA))[of] / volumes
    if not chances.sum() > 0:
        masses = ", ".join(f"{template.mass_kda:.0f}" for template in templates)
        raise InputError(f"size_shares {list(shares)} leave nothing to the species of {masses} kDa; give them a share")
    return np.asarray(chances / chances.sum(), dtype=np.float64)


def plan_counts(templates: Sequence[Template], counts: Mapping[str, int] | Sequence[int] | None) -> list[int]:
    """Indices of templates, each as often as it is asked for."""
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


def check_species(templates: Sequence[Template], room_zyx: Sequence[float], voxel_size: float, margin: float) -> None:
    """Raise an `InputError` unless names differ and are free, voxel sizes agree and all fit into the room (voxels)."""
    names = [template.name for template in templates]
    if len(set(names)) < len(names):
        raise InputError(f"packing: species need different names, got {', '.join(names)}")
    if kept := sorted(name for name, fit in zip(names, is_molecule(names), strict=True) if not fit):
        raise InputError(
            f"packing: {', '.join(kept)} name what is no molecule in the truth; call the species otherwise"
        )
    for template in templates:
        if not np.isclose(template.voxel_size, voxel_size, rtol=1e-3):
            raise InputError(f"template {template.name} has {template.voxel_size} A voxels, the volume {voxel_size} A")
        room = min(room_zyx) * voxel_size - 2 * margin
        # the narrowest way through: a long rod fits lying down, which some random orientation will find
        extent = np.ptp(np.argwhere(template.mask()), axis=0).min() * voxel_size
        if extent > room:
            raise InputError(
                f"box of {min(room_zyx):.0f} voxels ({room:.0f} A inside the margin) is smaller than the particle "
                f"{template.name} ({extent:.0f} A); make the volume larger or leave the species out"
            )


def _place(canvas: Canvas, template: Template, generator: np.random.Generator, rules: Rules) -> bool:
    return place(
        canvas,
        template,
        canvas.label_id(template.name),
        generator,
        rules.threshold,
        rules.tries,
        exhaustive=rules.exhaustive,
        may_stick_out=rules.stick_out,
    )


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
