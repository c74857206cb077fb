"""Globular protein domains: ellipsoids with texture, chained into subunits, filled with pseudo-atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.template import DENSITY_PER_KDA

Array = npt.NDArray[np.float64]
LATTICE = 5.0  # A between pseudo-atoms: 125 A^3 of protein weigh 0.1 kDa, one residue


@dataclass(frozen=True)
class Domain:
    """An ellipsoid of protein: centre (xyz, A), axes as a rotation, semi-axes, texture waves in its own frame."""

    centre: Array
    axes: Rotation
    semi: Array
    waves: Array  # (k, 3) wave vectors, rad / A
    phases: Array
    weight: float

    def moved(self, rotation: Rotation, shift: Array | None = None) -> Domain:
        centre = rotation.apply(self.centre) + (0 if shift is None else shift)
        return Domain(centre, rotation * self.axes, self.semi, self.waves, self.phases, self.weight)

    @property
    def radius(self) -> float:
        return float(np.prod(self.semi) ** (1 / 3))


def cluster(mass: float, generator: np.random.Generator, *, compact: float, core_weight: float = 1.0) -> list[Domain]:
    """A chain of touching globular domains of this total mass, centred; ``compact`` 0 strings them, 1 balls them."""
    count = max(1, round(mass / generator.uniform(20, 50)))
    shares = generator.uniform(0.5, 1.5, size=count)
    radii = np.array([sphere_radius(m) for m in mass * shares / shares.sum()])
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


def _domain(centre: Array, radius: float, weight: float, generator: np.random.Generator) -> Domain:
    aspect = np.exp(generator.normal(0, 0.2, size=3))
    semi = radius * aspect / np.prod(aspect) ** (1 / 3)
    waves = generator.normal(size=(4, 3))
    waves *= (2 * np.pi / generator.uniform(18, 40, size=4) / np.linalg.norm(waves, axis=1))[:, None]
    return Domain(centre, random_rotations(1, generator)[0], semi, waves, generator.uniform(0, 2 * np.pi, 4), weight)


def sphere_radius(mass: float) -> float:
    """Radius (A) of a sphere of protein."""
    return float((3 * mass * DENSITY_PER_KDA / (4 * np.pi)) ** (1 / 3))


def shifted(domains: list[Domain], shift: Array) -> list[Domain]:
    return [domain.moved(Rotation.identity(), shift) for domain in domains]


def fill(domains: list[Domain]) -> tuple[Array, Array]:
    """Pseudo-atoms on a lattice inside the union of the domains: (n, 3) xyz in A and their weights around 1."""
    reach = max(float(np.linalg.norm(domain.centre) + domain.semi.max()) for domain in domains)
    half = int(np.ceil(reach / LATTICE)) + 1
    grid = np.zeros((2 * half + 1,) * 3)
    for domain in domains:
        low = np.floor((domain.centre - domain.semi.max()) / LATTICE).astype(int) + half
        high = np.ceil((domain.centre + domain.semi.max()) / LATTICE).astype(int) + half + 1
        window = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
        axes = [
            (np.arange(*s.indices(2 * half + 1)) - half) * LATTICE - c
            for s, c in zip(window, domain.centre, strict=True)
        ]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        local = points.reshape(-1, 3) @ domain.axes.as_matrix()  # rows times R = R^T applied: into the domain's frame
        texture = 1 + 0.25 * np.cos(local @ domain.waves.T + domain.phases).sum(axis=1)
        inside = ((local / domain.semi) ** 2).sum(axis=1) <= 1
        value = np.where(inside, domain.weight * np.clip(texture, 0.25, 1.9), 0).reshape(points.shape[:-1])
        np.maximum(grid[window], value, out=grid[window])
    index = np.argwhere(grid > 0)
    return np.asarray((index - half) * LATTICE, dtype=np.float64), grid[tuple(index.T)]
