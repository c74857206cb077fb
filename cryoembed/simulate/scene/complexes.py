"""Complexes: several species in contact as one rigid species, such as a ribosome with the polymerase it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cryoembed import geometry
from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.rotations import random_rotations
from cryoembed.simulate.density.calibration import calibrated
from cryoembed.simulate.density.template import MASK_THRESHOLD, Split, Template, rotate

_OVERLAP = 0.01  # of the smaller mask: what a contact may bury


class ComplexSpec(Config):
    """Species to be put in contact, the first in the middle; the seed decides how (the same in every model)."""

    name: str = Field(min_length=1)
    parts: tuple[str, ...]
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _of_several(self) -> Self:
        if len(self.parts) < 2:
            raise ValueError(f"complex {self.name}: a complex has at least two parts, got {len(self.parts)}")
        return self


def with_complexes(specs: Sequence[ComplexSpec], templates: Sequence[Template]) -> list[Template]:
    """The species, and after them their complexes (which may be parts of later ones).

    Raises
    ------
    InputError
        If a part is no species.
    """
    species = {template.name: template for template in templates}
    for spec in specs:
        species[spec.name] = complex_template(spec, species)
    return list(species.values())


def complex_template(spec: ComplexSpec, species: Mapping[str, Template]) -> Template:
    """One rigid template: each part in a random orientation moved towards the others until their masks touch.

    Raises
    ------
    InputError
        If a part is no species, or the name is taken.
    """
    if lacking := sorted(set(spec.parts) - set(species)):
        known = ", ".join(species)
        raise InputError(f"complex {spec.name}: no species {', '.join(lacking)} to be a part; known: {known}")
    if spec.name in species:
        raise InputError(f"complex {spec.name}: a species has this name; choose another")
    generator = np.random.default_rng([spec.seed, len(spec.parts)])
    parts = [species[name] for name in spec.parts]
    size = 2 * sum(part.box_vox for part in parts)
    density = np.zeros((size,) * 3, dtype=np.float32)
    _add(density, parts[0].density, np.zeros(3, dtype=np.int64))
    mask = np.zeros(density.shape, dtype=np.bool_)
    _add(mask, parts[0].mask(), np.zeros(3, dtype=np.int64))
    for part in parts[1:]:
        turned = rotate(part, random_rotations(1, generator)[0])
        offsets = np.argwhere(turned > part.interior * MASK_THRESHOLD) - part.box_vox // 2
        at = _contact(mask, offsets, generator)
        _add(density, turned, at)
        mask[tuple((offsets + at + size // 2).T)] = True
    splits = get_args(Split)
    return calibrated(
        spec.name,
        density,
        parts[0].voxel_size,
        sum(part.mass_kda for part in parts),
        split=max((part.split for part in parts), key=splits.index),  # one test species makes it one
    )


def _contact(
    mask: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Where (voxels from the middle) a body of these voxels touches the mask, coming in along a random direction."""
    direction = generator.normal(size=3)
    direction /= np.linalg.norm(direction)
    centre = mask.shape[0] // 2
    allowed = _OVERLAP * min(len(offsets), int(mask.sum()))
    reach = centre - int(np.abs(offsets).max()) - 1
    at = np.zeros(3, dtype=np.int64)
    for distance in np.arange(reach, 0, -0.5):
        closer = np.floor(direction * distance + 0.5).astype(np.int64)
        if mask[tuple((offsets + closer + centre).T)].sum() > allowed:
            break
        at = closer
    return at


def _add(volume: npt.NDArray[np.float32] | npt.NDArray[np.bool_], part: npt.NDArray, at: npt.NDArray[np.int64]) -> None:  # type: ignore[type-arg]
    corner = at + volume.shape[0] // 2 - part.shape[0] // 2
    slices = geometry.box_slices(tuple(corner), part.shape, volume.shape)
    assert slices is not None
    volume[slices[0]] += part[slices[1]]
