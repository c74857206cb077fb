"""Real structures in trainings: templates of the training split, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.simulate.density.structure_spec import StructureSpec, expand, split_of
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Split, Template


def load_structures(
    specs: Sequence[StructureSpec], voxel_size: float, *, resolution: float = 12.0, folder: Path = Path()
) -> list[Template]:
    """Templates at ``voxel_size`` A of maps and atomic models; `InputError` if one is not of the training split."""
    for spec in specs:
        if spec.pdb is not None:  # before it is downloaded
            _refuse_held_back(spec.pdb, split_of(spec))
    expanded = [one for spec in specs for one in expand(spec, folder)]
    for spec in expanded:
        _refuse_held_back(spec.name, spec.split)
    return [structure_template(spec, voxel_size, resolution=resolution) for spec in expanded]


def _refuse_held_back(name: str | None, split: Split) -> None:
    if split != "train":
        raise InputError(f"structure {name} is of the {split} split; trainings may see train only")
