"""Real structures in trainings: templates of the training split, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.simulate.dataset import DatasetConfig
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


def check_sample(sample: DatasetConfig) -> None:
    """Raise `InputError` if the settings of a stream name a species that is not of the training split."""
    for spec in sample.phantoms:
        _refuse_held_back(spec.name, spec.split, "phantom")
    load_structures(sample.structures, sample.voxel_size, folder=sample.structure_folder)


def _refuse_held_back(name: str | None, split: Split, what: str = "structure") -> None:
    if split != "train":
        raise InputError(f"{what} {name} is of the {split} split; trainings may see train only")
