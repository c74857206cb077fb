"""What a data set holds: model N is a pure function of the settings and N (`folders` writes them to disk)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import Field, model_validator

from cryoembed.errors import InputError
from cryoembed.particles import FIDUCIAL
from cryoembed.simulate.density.phantoms import phantom, random_spec
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Split, Template
from cryoembed.simulate.imaging.series import Imaged, ImagingConfig, image
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.sample import SampleConfig
from cryoembed.simulate.scene.truth import Scene, shortfall

SCHEMA = 3
_IMAGING_FILES = ("tilt_file", "spectrum_file")


class DatasetConfig(SampleConfig):
    """What to simulate: the sample (`SampleConfig`), its imaging, and how many of them.

    Of the ``models``, the last ``test`` are the test set and the ``validation`` before them the validation set;
    ``separate_species`` gives each model only species of its own split.
    """

    models: int = Field(default=4, ge=1)
    validation: int = Field(default=0, ge=0)
    test: int = Field(default=0, ge=0)
    separate_species: bool = False
    allow_shortfall: bool = False  # whether a model with less than asked is written all the same
    imaging: ImagingConfig = ImagingConfig()
    write_halves: bool = False  # also even.mrc, odd.mrc (independent noise) and clean.mrc
    write_masks: bool = False  # also masks/CLASS.mrc of membranes, filaments and gold, where there are any
    shrec_cube: bool = False  # cubic files with the sample in the middle, as SHREC 2021 was published
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _splits_fit(self) -> DatasetConfig:
        if self.validation + self.test > self.models:
            raise ValueError(f"{self.validation} validation and {self.test} test models of {self.models} in all")
        return self


def simulate_model(
    config: DatasetConfig,
    index: int,
    shared: Sequence[Template] | None = None,
    *,
    threads: int | None = None,
    device: str = "cpu",
) -> tuple[Scene, Imaged]:
    """One model in memory: the sample with its truth, and its tomogram.

    Parameters
    ----------
    shared
        `shared_templates` of the config; made here if None.
    threads
        Of the imaging; default all that this process may use. The result is the same for any number.
    device
        Of the imaging, see `imaging.series.image`.
    """
    generator = np.random.default_rng([config.seed, 1, index])
    scene = simulate_sample(config, index, shared, generator)
    imaged = image(
        scene.density,
        config.voxel_size,
        imaging_of(config, index),
        generator,
        occupancy=scene.macromolecule_mask(),
        sample_mask=scene.sample_mask,
        gold=scene.mask_of(FIDUCIAL),
        threads=threads,
        device=device,
    )
    return scene, imaged


def imaging_of(config: DatasetConfig, index: int) -> ImagingConfig:
    """The imaging of one model: ``{model}`` in a file's path is its number, relative paths start at the structures'."""
    found = {}
    for name in _IMAGING_FILES:
        path = getattr(config.imaging, name)
        if path is not None:
            found[name] = config.structure_folder / str(path).replace("{model}", str(index))
    return config.imaging.model_copy(update=found)


def simulate_sample(
    config: DatasetConfig,
    index: int,
    shared: Sequence[Template] | None = None,
    generator: np.random.Generator | None = None,
) -> Scene:
    """The sample of one model, without its tomogram."""
    generator = np.random.default_rng([config.seed, 1, index]) if generator is None else generator
    templates = list(shared_templates(config) if shared is None else shared)
    split = split_of(config, index)
    if config.separate_species:
        templates = [template for template in templates if template.split == split]
    templates += _random_templates(config.fresh_phantoms, config, generator, split)
    if not templates and not (config.filaments or config.chains):
        raise InputError(f"model_{index} is for {split}, but no species is; add some or set separate_species: false")
    sample: SampleConfig = config
    if config.separate_species and isinstance(config.counts, dict):
        names = {template.name for template in templates}
        here = {name: number for name, number in config.counts.items() if name in names}
        sample = config.model_copy(update={"counts": here})
    scene = compose(sample, templates, generator, tomogram=f"model_{index}")
    lacking = shortfall(scene, config.crowding)
    if lacking is not None and not config.allow_shortfall:
        raise InputError(f"model_{index}: {lacking} (or set allow_shortfall: true)")
    return scene


def shared_templates(config: DatasetConfig) -> list[Template]:
    """The species of all models: phantoms, randomly drawn phantoms, structures (in this order)."""
    templates = [phantom(spec, config.voxel_size, resolution=config.resolution) for spec in config.phantoms]
    generator = np.random.default_rng([config.seed, 0])
    templates += _random_templates(config.random_phantoms, config, generator, "train")
    for spec in config.structures:
        for single in expand(spec, config.structure_folder):
            templates.append(structure_template(single, config.voxel_size, resolution=config.resolution))
    return templates


def split_of(config: DatasetConfig, index: int) -> Split:
    """Which set a model belongs to: train first, then validation, then test."""
    if index >= config.models - config.test:
        return "test"
    return "validation" if index >= config.models - config.test - config.validation else "train"


def settings_digest(config: DatasetConfig, index: int = 0) -> str:
    """16 hex digits of everything that decides what a model holds (not of how many there are, or where they go).

    They are the same for all models, unless each has files of its own (``{model}`` in a path of the imaging).
    """
    fields = set(DatasetConfig.model_fields) - {"models", "validation", "test", "allow_shortfall"}
    if config.separate_species:
        fields |= {"models", "validation", "test"}
    settings = config.model_dump(mode="json", include=fields - {"structure_folder", "structures"})
    species = [(_content(one.path), one.model_dump(mode="json", exclude={"path"})) for one in _files(config)]
    imaging = imaging_of(config, index)
    files = [_content(path) for name in _IMAGING_FILES if (path := getattr(imaging, name)) is not None]
    text = json.dumps({"schema": SCHEMA, **settings, "structures": species, "files": files}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files(config: DatasetConfig) -> list[StructureSpec]:
    found: list[StructureSpec] = []
    for spec in config.structures:
        try:
            found += expand(spec, config.structure_folder)
        except InputError:  # whoever needs the file says so
            found.append(spec)
    return found


def _content(path: Path | None) -> str:
    """What a structure's file holds, wherever it lies: an edited file makes other models."""
    if path is None:  # a PDB id that couldn't be downloaded
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else path.name


def _random_templates(
    count: int, config: DatasetConfig, generator: np.random.Generator, split: Split
) -> list[Template]:
    assert split in get_args(Split)
    specs = [
        random_spec(generator, mass_range_kda=config.mass_range_kda, families=config.families, split=split)
        for _ in range(count)
    ]
    names = {spec.name for spec in specs}
    if len(names) < count:  # about one draw in a million
        specs = [spec.model_copy(update={"name": f"{spec.name}_{row}"}) for row, spec in enumerate(specs)]
    return [phantom(spec, config.voxel_size, resolution=config.resolution) for spec in specs]
