"""Procedural macromolecules: globular domains in clusters, rings, barrels, rods, shells and two-body complexes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from pydantic import Field, model_validator
from scipy.spatial.transform import Rotation

from cryoembed.config import Config
from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.domains import LATTICE, Domain, cluster, fill, shifted, sphere_radius
from cryoembed.simulate.density.library import POINT_GROUP
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Split, Template

Family = Literal["blob", "ring", "barrel", "rod", "shell", "two_body"]
FAMILIES: tuple[Family, ...] = get_args(Family)
LOOSENESS = 1.35  # volume of a real structure's envelope over its dry protein volume (clefts, water, loops)
MASS_RANGE_KDA = (100.0, 4000.0)
_SYMMETRIES: dict[Family, tuple[str, ...]] = {
    "blob": ("C1", "C1", "C2", "C3"),
    "ring": ("C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12"),
    "barrel": ("D2", "D3", "D4", "D5", "D6", "D7", "D8"),
    "rod": ("C1",),
    "shell": ("T", "O", "O", "I"),
    "two_body": ("C1",),
}


class PhantomSpec(Config):
    """What fixes one phantom: the same spec is always the same density.

    ``symmetry`` None lets the seed choose among the family's point groups.
    """

    name: str = Field(min_length=1)
    family: Family
    mass_kda: float = Field(gt=0)
    symmetry: str | None = None
    seed: int = Field(default=0, ge=0)
    split: Split = "train"

    @model_validator(mode="after")
    def _known_group(self) -> PhantomSpec:
        if self.symmetry is not None and not re.fullmatch(POINT_GROUP, self.symmetry):
            raise ValueError(f"symmetry {self.symmetry!r}: expected C1..C99, D2..D99, T, O or I")
        if self.symmetry not in (None, "C1") and self.family in ("rod", "two_body"):
            raise ValueError(f"family {self.family} has symmetry C1, not {self.symmetry}")
        return self


def phantom(spec: PhantomSpec, voxel_size: float, *, resolution: float = 12.0) -> Template:
    """Build the template a spec describes.

    Domains of 20-50 kDa are placed as the family asks, repeated by the point group, filled with pseudo-atoms of one
    residue each (so density is protein-like, with gaps and inner texture) and scaled to the exact mass.

    Parameters
    ----------
    resolution
        A; the map's detail before imaging.
    """
    generator = np.random.default_rng([spec.seed, FAMILIES.index(spec.family)])
    symmetry = spec.symmetry or _draw_symmetry(spec.family, spec.mass_kda, generator)
    group = _group(symmetry)
    unit = _UNITS[spec.family](spec.mass_kda / len(group), symmetry, generator)
    domains = [domain.moved(operator) for operator in group for domain in unit]
    positions, weights = fill(domains)
    volume = weights.sum() * LATTICE**3
    positions *= (LOOSENESS * spec.mass_kda * DENSITY_PER_KDA / volume) ** (1 / 3)
    return template_from_atoms(
        spec.name,
        positions[:, ::-1],
        weights,
        voxel_size,
        spec.mass_kda,
        resolution=resolution,
        symmetry=symmetry,
        split=spec.split,
    )


def random_spec(
    generator: np.random.Generator,
    *,
    mass_range_kda: tuple[float, float] = MASS_RANGE_KDA,
    families: tuple[Family, ...] = FAMILIES,
    split: Split = "train",
) -> PhantomSpec:
    """Draw a spec: family uniform, mass log-uniform, symmetry and everything else by a drawn seed."""
    family = families[int(generator.integers(len(families)))]
    low, high = np.log(mass_range_kda)
    mass = float(np.exp(generator.uniform(low, high)))
    seed = int(generator.integers(2**31))
    return PhantomSpec(
        name=f"{family}_{mass:.0f}kda_{seed % 1000:03d}", family=family, mass_kda=mass, seed=seed, split=split
    )


def random_phantom(
    generator: np.random.Generator,
    voxel_size: float,
    *,
    mass_range_kda: tuple[float, float] = MASS_RANGE_KDA,
    families: tuple[Family, ...] = FAMILIES,
    split: Split = "train",
    resolution: float = 12.0,
) -> Template:
    """Draw a phantom: endless variety from one generator."""
    spec = random_spec(generator, mass_range_kda=mass_range_kda, families=families, split=split)
    return phantom(spec, voxel_size, resolution=resolution)


def _group(symmetry: str) -> Rotation:
    """The operators of a point group, axis along z."""
    return Rotation.create_group(symmetry)  # type: ignore[arg-type]  # scipy's stub knows "Cn", not "C7"


def _draw_symmetry(family: Family, mass: float, generator: np.random.Generator) -> str:
    """One of the family's point groups whose subunits would weigh at least 20 kDa (else its smallest group)."""
    groups = _SYMMETRIES[family]
    fitting = [group for group in groups if mass / len(_group(group)) >= 20]
    return fitting[int(generator.integers(len(fitting)))] if fitting else groups[0]


# ---------------------------------------------------------------- families: asymmetric units, xyz, A


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
    group = _group(symmetry)
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


_UNITS: dict[Family, Callable[[float, str, np.random.Generator], list[Domain]]] = {
    "blob": _blob,
    "ring": _ring,
    "barrel": _barrel,
    "rod": _rod,
    "shell": _shell,
    "two_body": _two_body,
}
