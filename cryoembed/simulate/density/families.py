"""Families of phantoms: the asymmetric unit (domains on xyz, in A) and the point groups of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.domains import Domain, cluster, shifted, sphere_radius

Family = Literal["blob", "ring", "barrel", "rod", "shell", "two_body"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_SYMMETRIES: dict[Family, tuple[str, ...]] = {
    "blob": ("C1", "C1", "C2", "C3"),
    "ring": ("C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12"),
    "barrel": ("D2", "D3", "D4", "D5", "D6", "D7", "D8"),
    "rod": ("C1",),
    "shell": ("T", "O", "O", "I"),
    "two_body": ("C1",),
}


def group_of(symmetry: str) -> Rotation:
    """The operators of a point group, axis along z."""
    return Rotation.create_group(symmetry)  # type: ignore[arg-type]  # scipy's stub knows "Cn", not "C7"


def draw_symmetry(family: Family, mass: float, generator: np.random.Generator) -> str:
    """One of the family's point groups whose subunits would weigh at least 20 kDa (else its smallest group)."""
    groups = _SYMMETRIES[family]
    fitting = [group for group in groups if mass / len(group_of(group)) >= 20]
    return fitting[int(generator.integers(len(fitting)))] if fitting else groups[0]


def _blob(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    unit = cluster(mass, generator, compact=generator.uniform(0.2, 0.9))
    if symmetry == "C1":
        return unit
    order = int(symmetry[1:])
    return shifted(
        unit, np.array([sphere_radius(mass) * generator.uniform(0.8, 1.0) / np.sin(np.pi / order), 0.0, 0.0])
    )


def _ring(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    order = max(int(symmetry[1:]), 2) if symmetry[0] in "CD" else 4
    radius = sphere_radius(mass) * generator.uniform(0.85, 1.0) / np.sin(np.pi / order)
    return shifted(cluster(mass, generator, compact=0.8), np.array([radius, 0.0, 0.0]))


def _barrel(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    """Half of a stack of two rings, or of four rings of two kinds (as in proteasomes)."""
    order = int(symmetry[1:]) if symmetry[0] in "CD" else 4
    layers = 1 if mass < 40 or generator.random() < 0.5 else 2
    size = sphere_radius(mass / layers)
    unit: list[Domain] = []
    radius = size * generator.uniform(0.85, 1.0) / np.sin(np.pi / order)
    for layer in range(layers):
        height = size * generator.uniform(0.8, 0.95) * (1 + 2 * layer)
        angle = generator.uniform(-0.5, 0.5) * 2 * np.pi / order
        reach = radius * (1.0 if layer == 0 else generator.uniform(0.85, 1.05))
        place = np.array([reach * np.cos(angle), reach * np.sin(angle), height])
        unit += shifted(cluster(mass / layers, generator, compact=0.8), place)
    return unit


def _rod(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    """Copies of one subunit on a screw axis."""
    count = int(np.clip(generator.integers(5, 11), 4, max(4, mass // 12)))
    size = sphere_radius(mass / count)
    unit = cluster(mass / count, generator, compact=0.9)
    rise, twist = size * generator.uniform(1.0, 1.4), generator.uniform(0.5, 3.0)
    off_axis = np.array([size * generator.uniform(0.3, 0.7), 0.0, 0.0])
    steps = [(Rotation.from_rotvec([0, 0, twist * k]), np.array([0, 0, rise * k])) for k in range(count)]
    return [domain.moved(turn, shift) for turn, shift in steps for domain in shifted(unit, off_axis)]


def _shell(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    """One subunit of a hollow sphere, at the direction that keeps its symmetry mates farthest away."""
    group = group_of(symmetry)
    directions = generator.normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    gaps = [np.sort(np.linalg.norm(group.apply(d) - d, axis=1))[min(1, len(group) - 1)] for d in directions]
    radius = sphere_radius(mass) * np.sqrt(len(group) / (4 * generator.uniform(0.75, 0.95)))
    return shifted(cluster(mass, generator, compact=0.9), directions[int(np.argmax(gaps))] * radius)


def _two_body(mass: float, symmetry: str, generator: np.random.Generator) -> list[Domain]:
    """Ribosome-like: a large and a small body in contact, dense nucleic-acid-like cores inside protein."""
    share = generator.uniform(0.55, 0.7)
    large = cluster(mass * share, generator, compact=0.95, core_weight=1.5)
    small = cluster(mass * (1 - share), generator, compact=0.85, core_weight=1.5)
    apart = 0.8 * (sphere_radius(mass * share) + sphere_radius(mass * (1 - share)))
    direction = random_rotations(1, generator).apply(np.array([[apart, 0.0, 0.0]]))[0]
    return large + shifted(small, direction)


UNITS: dict[Family, Callable[[float, str, np.random.Generator], list[Domain]]] = {
    "blob": _blob,
    "ring": _ring,
    "barrel": _barrel,
    "rod": _rod,
    "shell": _shell,
    "two_body": _two_body,
}
