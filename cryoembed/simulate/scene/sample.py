"""What a sample holds, in settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.simulate.density.families import FAMILIES, Family
from cryoembed.simulate.density.phantoms import MASS_RANGE_KDA, PhantomSpec
from cryoembed.simulate.density.structure_spec import StructureSpec
from cryoembed.simulate.scene.bilayers import MembraneSpec
from cryoembed.simulate.scene.chains import ChainSpec
from cryoembed.simulate.scene.complexes import ComplexSpec
from cryoembed.simulate.scene.crowding import SIZE_CLASSES_KDA
from cryoembed.simulate.scene.envelope import EnvelopeConfig
from cryoembed.simulate.scene.filaments import FilamentSpec
from cryoembed.simulate.scene.polymers import polymer_labels
from cryoembed.simulate.scene.truth import STRUCTURES


class SampleConfig(Config):
    """What is in a sample. Species are the sum of ``phantoms``, ``random_phantoms`` and ``structures``.

    How many particles there are is said by one of ``counts``, ``crowding`` and ``particles``. The first two search the
    volume until every voxel has been looked at; ``particles`` follows SHREC 2021, where a particle that finds no place
    in so many tries is skipped. Membrane proteins (structures with ``membrane: true``) are counted by
    ``membrane_proteins`` or ``membrane_protein_density``, or by name in ``counts``.
    """

    shape: tuple[int, int, int] = (96, 192, 192)  # z, y, x voxels
    voxel_size: float = Field(default=10.0, gt=0)  # A
    resolution: float = Field(default=12.0, gt=0)  # A, detail of the species before imaging
    phantoms: tuple[PhantomSpec, ...] = ()
    random_phantoms: int = Field(default=0, ge=0)  # drawn once, in every model
    fresh_phantoms: int = Field(default=0, ge=0)  # drawn anew for every model: endless variety
    mass_range_kda: tuple[float, float] = MASS_RANGE_KDA
    families: tuple[Family, ...] = FAMILIES
    structures: tuple[StructureSpec, ...] = ()
    structure_folder: Path = Path()  # where relative paths of structures start
    counts: dict[str, int] | int | None = None  # particles per species and model; or
    crowding: float | None = Field(default=None, gt=0, lt=1)  # fraction of the sample that macromolecules fill; or
    particles: tuple[int, int] | None = None  # of all species together, drawn one by one, skipped if no place is found
    cytosol: float = Field(default=0.0, ge=0, lt=1)  # fraction of the rest filled by what is too small to be placed
    size_shares: tuple[float, float, float, float, float] | None = None  # by volume: > 1000, 600, 200, 40 kDa, rest
    tries: int = Field(default=2000, ge=1)  # places looked at in each of four orientations
    stick_out: bool = False  # whether the volume's faces may cut particles
    margin: float = Field(default=0.0, ge=0)  # A between particles and the faces of the volume
    gap: float = Field(default=0.0, ge=0)  # A between particles
    envelope: EnvelopeConfig = EnvelopeConfig()  # the sample's shape
    vesicles: tuple[int, int] = (0, 0)
    membranes: tuple[MembraneSpec, ...] = ()  # more of them, by shape
    membrane_proteins: tuple[int, int] | None = None  # per model; or
    membrane_protein_density: tuple[float, float] | None = None  # per square micrometre of membrane
    filaments: tuple[FilamentSpec, ...] = ()  # microtubules and actin
    chains: tuple[ChainSpec, ...] = ()  # DNA and mRNA, with nucleosomes or species as beads
    complexes: tuple[ComplexSpec, ...] = ()  # species put together from others
    fiducials: tuple[int, int] = (0, 0)
    fiducial_diameter: tuple[float, float] = (80.0, 120.0)  # A

    @model_validator(mode="after")
    def _consistent(self) -> SampleConfig:
        if min(self.shape) < 8:
            raise ValueError(f"shape {self.shape}: every side needs at least 8 voxels")
        species = self.phantoms or self.random_phantoms or self.fresh_phantoms or self.structures
        if not (species or self.filaments or self.chains):
            raise ValueError("no species: give phantoms, random_phantoms, fresh_phantoms or structures")
        if sum(way is not None for way in (self.counts, self.crowding, self.particles)) != bool(species):
            raise ValueError("give either counts or crowding or particles" if species else "nothing to count or crowd")
        if not 0 < self.mass_range_kda[0] <= self.mass_range_kda[1]:
            raise ValueError(f"mass_range_kda {self.mass_range_kda}: expected a rising range of positive masses")
        ranges = ("vesicles", "fiducials", "particles", "membrane_proteins", "membrane_protein_density")
        for name in (*ranges, "fiducial_diameter"):
            low, high = getattr(self, name) or (0, 0)
            if not 0 <= low <= high:
                raise ValueError(f"{name} {low, high}: expected a range of counts")
        if self.size_shares is not None and (min(self.size_shares) < 0 or not sum(self.size_shares) > 0):
            raise ValueError(f"size_shares {self.size_shares}: expected {len(SIZE_CLASSES_KDA)} shares, none negative")
        if self.size_shares is not None and self.counts is not None:
            raise ValueError("size_shares are for crowding or particles; counts say themselves how many of which")
        if self.stick_out and self.margin > 0:
            raise ValueError(
                f"stick_out lets the faces cut particles, margin {self.margin:g} keeps them away: drop one"
            )
        if self.membrane_proteins is not None and self.membrane_protein_density is not None:
            raise ValueError("give either membrane_proteins or membrane_protein_density")
        return self

    @property
    def structure_labels(self) -> tuple[str, ...]:
        """Classes that are no species which this sample may hold, in the order of `STRUCTURES`."""
        held = {spec.label for spec in self.membranes if spec.count[1] > 0}
        held |= set(polymer_labels(self.filaments, self.chains))
        if self.vesicles[1] > 0:
            held.add("vesicle")
        if self.envelope.kind == "cell" and self.envelope.membrane:
            held.add("membrane")
        if self.fiducials[1] > 0:
            held.add("fiducial")
        return tuple(label for label in STRUCTURES if label in held)


def draw_count(bounds: tuple[int, int], generator: np.random.Generator) -> int:
    """A whole number of a range, both ends included."""
    return int(generator.integers(bounds[0], bounds[1] + 1))
