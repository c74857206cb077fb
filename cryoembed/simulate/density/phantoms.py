"""Procedural macromolecules: globular domains in clusters, rings, barrels, rods, shells and two-body complexes."""

from __future__ import annotations

import re

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.domains import LATTICE, fill
from cryoembed.simulate.density.families import FAMILIES, UNITS, Family, draw_symmetry, group_of, is_possible
from cryoembed.simulate.density.library import POINT_GROUP
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Split, Template

LOOSENESS = 1.35  # volume of a real structure's envelope over its dry protein volume (clefts, water, loops)
MASS_RANGE_KDA = (100.0, 4000.0)


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
        if self.symmetry is not None and not is_possible(self.family, self.symmetry):
            raise ValueError(
                f"family {self.family} can't have symmetry {self.symmetry}; leave symmetry out to draw one"
            )
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
    symmetry = spec.symmetry or draw_symmetry(spec.family, spec.mass_kda, generator)
    group = group_of(symmetry)
    unit = UNITS[spec.family](spec.mass_kda / len(group), symmetry, generator)
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
