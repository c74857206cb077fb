"""What a sample holds, in settings, and the order in which it is put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.simulate.density.phantoms import FAMILIES, MASS_RANGE_KDA, Family, PhantomSpec
from cryoembed.simulate.density.structures import StructureSpec
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.pack import pack
from cryoembed.simulate.scene.truth import Scene


class SampleConfig(Config):
    """What is in a sample. Species are the sum of ``phantoms``, ``random_phantoms`` and ``structures``."""

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
    crowding: float | None = Field(default=None, gt=0, lt=1)  # volume fraction of macromolecules
    margin: float = Field(default=0.0, ge=0)  # A between particles and the faces of the volume
    gap: float = Field(default=0.0, ge=0)  # A between particles
    vesicles: tuple[int, int] = (0, 0)
    fiducials: tuple[int, int] = (0, 0)

    @model_validator(mode="after")
    def _consistent(self) -> SampleConfig:
        if min(self.shape) < 8:
            raise ValueError(f"shape {self.shape}: every side needs at least 8 voxels")
        if (self.counts is None) == (self.crowding is None):
            raise ValueError("give either counts or crowding")
        if not (self.phantoms or self.random_phantoms or self.fresh_phantoms or self.structures):
            raise ValueError("no species: give phantoms, random_phantoms, fresh_phantoms or structures")
        if not 0 < self.mass_range_kda[0] <= self.mass_range_kda[1]:
            raise ValueError(f"mass_range_kda {self.mass_range_kda}: expected a rising range of positive masses")
        for name in ("vesicles", "fiducials"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} {low, high}: expected a range of counts")
        return self


def compose(
    config: SampleConfig, templates: Sequence[Template], generator: np.random.Generator, *, tomogram: str = "model_0"
) -> Scene:
    """Put a sample together: membranes, gold and filaments first, then the species from the largest to the smallest.

    Parameters
    ----------
    templates
        The species of this sample, at its voxel size.
    generator
        Everything random comes from it.
    tomogram
        Name in the particle table.
    """
    names = [template.name for template in templates]
    counts = dict.fromkeys(names, config.counts) if isinstance(config.counts, int) else config.counts
    return pack(
        templates,
        config.shape,
        config.voxel_size,
        generator,
        counts=counts,
        crowding=config.crowding,
        margin=config.margin,
        gap=config.gap,
        vesicles=int(generator.integers(config.vesicles[0], config.vesicles[1] + 1)),
        fiducials=int(generator.integers(config.fiducials[0], config.fiducials[1] + 1)),
        tomogram=tomogram,
    )
