"""Procedural macromolecules: globular domains in clusters, rings, barrels, rods, shells and two-body complexes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.spatial.transform import Rotation

from cryoembed.config import Config
from cryoembed.rotations import random_rotations
from cryoembed.simulate.atoms import template_from_atoms
from cryoembed.simulate.template import DENSITY_PER_KDA, Split, Template

Family = Literal["blob", "ring", "barrel", "rod", "shell", "two_body"]
FAMILIES: tuple[Family, ...] = get_args(Family)
LATTICE = 5.0  # A between pseudo-atoms: 125 A^3 of protein weigh 0.1 kDa, one residue
LOOSENESS = 1.35  # volume of a real structure's envelope over its dry protein volume (clefts, water, loops)
MASS_RANGE_KDA = (100.0, 4000.0)
Array = npt.NDArray[np.float64]
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
        if self.symmetry is not None and not re.fullmatch(r"C[1-9]\d?|D[2-9]\d?|T|O|I", self.symmetry):
            raise ValueError(f"symmetry {self.symmetry!r}: expected C1..C99, D2..D99, T, O or I")
        if self.symmetry not in (None, "C1") and self.family in ("rod", "two_body"):
            raise ValueError(f"family {self.family} has symmetry C1, not {self.symmetry}")
        return self


@dataclass(frozen=True)
class _Domain:
    """An ellipsoid of protein: centre (xyz, A), axes as a rotation, semi-axes, texture waves in its own frame."""

    centre: Array
    axes: Rotation
    semi: Array
    waves: Array  # (k, 3) wave vectors, rad / A
    phases: Array
    weight: float

    def moved(self, rotation: Rotation, shift: Array | None = None) -> _Domain:
        centre = rotation.apply(self.centre) + (0 if shift is None else shift)
        return _Domain(centre, rotation * self.axes, self.semi, self.waves, self.phases, self.weight)

    @property
    def radius(self) -> float:
        return float(np.prod(self.semi) ** (1 / 3))


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
    group = Rotation.create_group(symmetry)
    unit = _UNITS[spec.family](spec.mass_kda / len(group), symmetry, generator)
    domains = [domain.moved(operator) for operator in group for domain in unit]
    positions, weights = _fill(domains)
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
    return PhantomSpec(name=f"{family}_{mass:.0f}kda_{seed % 1000:03d}", family=family, mass_kda=mass, seed=seed, split=split)


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


def _draw_symmetry(family: Family, mass: float, generator: np.random.Generator) -> str:
    """One of the family's point groups whose subunits would weigh at least 20 kDa (else its smallest group)."""
    groups = _SYMMETRIES[family]
    fitting = [group for group in groups if mass / len(Rotation.create_group(group)) >= 20]
    return fitting[int(generator.integers(len(fitting)))] if fitting else groups[0]


# ---------------------------------------------------------------- families: asymmetric units, xyz, A


def _blob(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    unit = _cluster(mass, generator, compact=generator.uniform(0.2, 0.9))
    if symmetry == "C1":
        return unit
    order = int(symmetry[1:])
    return _shifted(unit, np.array([_size(mass) * generator.uniform(0.8, 1.0) / np.sin(np.pi / order), 0.0, 0.0]))


def _ring(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    order = max(int(symmetry[1:]), 2) if symmetry[0] in "CD" else 4
    radius = _size(mass) * generator.uniform(0.85, 1.0) / np.sin(np.pi / order)
    return _shifted(_cluster(mass, generator, compact=0.8), np.array([radius, 0.0, 0.0]))


def _barrel(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    """Half of a stack of two rings, or of four rings of two kinds (as in proteasomes)."""
    order = int(symmetry[1:]) if symmetry[0] in "CD" else 4
    layers = 1 if mass < 40 or generator.random() < 0.5 else 2
    size = _size(mass / layers)
    unit: list[_Domain] = []
    radius = size * generator.uniform(0.85, 1.0) / np.sin(np.pi / order)
    for layer in range(layers):
        height = size * generator.uniform(0.8, 0.95) * (1 + 2 * layer)
        angle = generator.uniform(-0.5, 0.5) * 2 * np.pi / order
        reach = radius * (1.0 if layer == 0 else generator.uniform(0.85, 1.05))
        place = np.array([reach * np.cos(angle), reach * np.sin(angle), height])
        unit += _shifted(_cluster(mass / layers, generator, compact=0.8), place)
    return unit


def _rod(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    """Copies of one subunit on a screw axis."""
    count = int(np.clip(generator.integers(5, 11), 4, max(4, mass // 12)))
    size = _size(mass / count)
    unit = _cluster(mass / count, generator, compact=0.9)
    rise, twist = size * generator.uniform(1.0, 1.4), generator.uniform(0.5, 3.0)
    off_axis = np.array([size * generator.uniform(0.3, 0.7), 0.0, 0.0])
    steps = [(Rotation.from_rotvec([0, 0, twist * k]), np.array([0, 0, rise * k])) for k in range(count)]
    return [domain.moved(turn, shift) for turn, shift in steps for domain in _shifted(unit, off_axis)]


def _shell(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    """One subunit of a hollow sphere, at the direction that keeps its symmetry mates farthest away."""
    group = Rotation.create_group(symmetry)
    directions = generator.normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    gaps = [np.sort(np.linalg.norm(group.apply(d) - d, axis=1))[min(1, len(group) - 1)] for d in directions]
    radius = _size(mass) * np.sqrt(len(group) / (4 * generator.uniform(0.75, 0.95)))
    return _shifted(_cluster(mass, generator, compact=0.9), directions[int(np.argmax(gaps))] * radius)


def _two_body(mass: float, symmetry: str, generator: np.random.Generator) -> list[_Domain]:
    """Ribosome-like: a large and a small body in contact, dense nucleic-acid-like cores inside protein."""
    share = generator.uniform(0.55, 0.7)
    large = _cluster(mass * share, generator, compact=0.95, core_weight=1.5)
    small = _cluster(mass * (1 - share), generator, compact=0.85, core_weight=1.5)
    apart = 0.8 * (_size(mass * share) + _size(mass * (1 - share)))
    direction = random_rotations(1, generator).apply(np.array([[apart, 0.0, 0.0]]))[0]
    return large + _shifted(small, direction)


_UNITS: dict[Family, Callable[[float, str, np.random.Generator], list[_Domain]]] = {
    "blob": _blob,
    "ring": _ring,
    "barrel": _barrel,
    "rod": _rod,
    "shell": _shell,
    "two_body": _two_body,
}

# ---------------------------------------------------------------- domains and pseudo-atoms


def _cluster(
    mass: float, generator: np.random.Generator, *, compact: float, core_weight: float = 1.0
) -> list[_Domain]:
    """A chain of touching globular domains of this total mass, centred; ``compact`` 0 strings them, 1 balls them."""
    count = max(1, round(mass / generator.uniform(20, 50)))
    shares = generator.uniform(0.5, 1.5, size=count)
    radii = np.array([_size(m) for m in mass * shares / shares.sum()])
    centres = np.zeros((1, 3))
    for index in range(1, count):
        parents = generator.integers(index, size=24)
        steps = generator.normal(size=(24, 3))
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        tries = centres[parents] + steps * 0.85 * (radii[parents] + radii[index])[:, None]
        apart = np.linalg.norm(tries[:, None] - centres[None], axis=2) / (radii[:index] + radii[index])
        free = np.flatnonzero(apart.min(axis=1) > 0.7)
        free = free if len(free) else np.arange(24)
        distance = np.linalg.norm(tries[free] - centres.mean(axis=0), axis=1)
        best = free[np.argmin(distance)] if generator.random() < compact else free[0]
        centres = np.vstack([centres, tries[best]])
    centres = centres - np.average(centres, axis=0, weights=radii**3)
    depth = np.linalg.norm(centres, axis=1) / max(np.linalg.norm(centres, axis=1).max(), 1e-9)
    return [
        _domain(centre, radius, core_weight if far < 0.6 else 1.0, generator)
        for centre, radius, far in zip(centres, radii, depth, strict=True)
    ]


def _domain(centre: Array, radius: float, weight: float, generator: np.random.Generator) -> _Domain:
    aspect = np.exp(generator.normal(0, 0.2, size=3))
    semi = radius * aspect / np.prod(aspect) ** (1 / 3)
    waves = generator.normal(size=(4, 3))
    waves *= (2 * np.pi / generator.uniform(18, 40, size=4) / np.linalg.norm(waves, axis=1))[:, None]
    return _Domain(centre, random_rotations(1, generator)[0], semi, waves, generator.uniform(0, 2 * np.pi, 4), weight)


def _size(mass: float) -> float:
    """Radius (A) of a sphere of protein."""
    return float((3 * mass * DENSITY_PER_KDA / (4 * np.pi)) ** (1 / 3))


def _shifted(domains: list[_Domain], shift: Array) -> list[_Domain]:
    return [domain.moved(Rotation.identity(), shift) for domain in domains]


def _fill(domains: list[_Domain]) -> tuple[Array, Array]:
    """Pseudo-atoms on a lattice inside the union of the domains: (n, 3) xyz in A and their weights around 1."""
    reach = max(float(np.linalg.norm(domain.centre) + domain.semi.max()) for domain in domains)
    half = int(np.ceil(reach / LATTICE)) + 1
    grid = np.zeros((2 * half + 1,) * 3)
    for domain in domains:
        low = np.floor((domain.centre - domain.semi.max()) / LATTICE).astype(int) + half
        high = np.ceil((domain.centre + domain.semi.max()) / LATTICE).astype(int) + half + 1
        window = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
        axes = [(np.arange(*s.indices(2 * half + 1)) - half) * LATTICE - c for s, c in zip(window, domain.centre, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        local = points.reshape(-1, 3) @ domain.axes.as_matrix()  # rows times R = R^T applied: into the domain's frame
        texture = 1 + 0.25 * np.cos(local @ domain.waves.T + domain.phases).sum(axis=1)
        inside = ((local / domain.semi) ** 2).sum(axis=1) <= 1
        value = np.where(inside, domain.weight * np.clip(texture, 0.25, 1.9), 0).reshape(points.shape[:-1])
        np.maximum(grid[window], value, out=grid[window])
    index = np.argwhere(grid > 0)
    return (index - half) * LATTICE, grid[tuple(index.T)]
