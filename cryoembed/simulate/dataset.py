"""What a data set holds: model N is a pure function of the settings and N (`folders` writes them to disk)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import Field, model_validator

from cryoembed.errors import InputError
from cryoembed.particles import FIDUCIAL
from cryoembed.simulate.density.phantoms import phantom, random_spec
from cryoembed.simulate.density.structure_spec import expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Split, Template
from cryoembed.simulate.imaging.real_spectra import tilts_beside
from cryoembed.simulate.imaging.series import Imaged, ImagingConfig, image, planned_tilts
from cryoembed.simulate.scene.complexes import with_complexes
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.sample import SampleConfig
from cryoembed.simulate.scene.splits import of_one_split
from cryoembed.simulate.scene.truth import Scene, shortfall

IMAGING_FILES = ("tilt_file", "spectrum_file", "spectrum_tilts")


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
    imaging = imaging_of(config, index)
    planned_tilts(imaging)  # a file that can't be used is told before the packing
    scene = simulate_sample(config, index, shared, generator)
    imaged = image(
        scene.density,
        config.voxel_size,
        imaging,
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
    found: dict[str, Path | None] = {}
    for name in IMAGING_FILES:
        path = getattr(config.imaging, name)
        if path is not None:
            found[name] = config.structure_folder / str(path).replace("{model}", str(index))
    images = found.get("spectrum_file")
    if images is not None and "spectrum_tilts" not in found:
        found["spectrum_tilts"] = tilts_beside(images)
    return config.imaging.model_copy(update=found)


def imaging_files(config: DatasetConfig, index: int) -> list[Path]:
    """The files that the imaging of one model reads."""
    imaging = imaging_of(config, index)
    return [path for name in IMAGING_FILES if (path := getattr(imaging, name)) is not None]


def simulate_sample(
    config: DatasetConfig,
    index: int,
    shared: Sequence[Template] | None = None,
    generator: np.random.Generator | None = None,
    *,
    split: Split | None = None,
) -> Scene:
    """The sample of one model, without its tomogram; ``split`` None: the model's own (`split_of`)."""
    generator = np.random.default_rng([config.seed, 1, index]) if generator is None else generator
    templates = list(shared_templates(config) if shared is None else shared)
    split = split_of(config, index) if split is None else split
    sample: SampleConfig = config.model_copy(update={"complexes": ()})  # they are among the shared templates
    if config.separate_species:
        sample, templates = of_one_split(sample, templates, split)
    templates += _random_templates(config.fresh_phantoms, config, generator, split)
    if not templates and not (sample.filaments or sample.chains):
        raise InputError(f"model_{index} is for {split}, but no species is; add some or set separate_species: false")
    scene = compose(sample, templates, generator, tomogram=f"model_{index}")
    lacking = shortfall(scene, config.crowding)
    if lacking is not None and not config.allow_shortfall:
        raise InputError(f"model_{index}: {lacking} (or set allow_shortfall: true)")
    return scene


def shared_templates(config: DatasetConfig) -> list[Template]:
    """The species of all models: phantoms, randomly drawn phantoms, structures, complexes (in this order)."""
    templates = [phantom(spec, config.voxel_size, resolution=config.resolution) for spec in config.phantoms]
    generator = np.random.default_rng([config.seed, 0])
    templates += _random_templates(config.random_phantoms, config, generator, "train")
    for spec in config.structures:
        for single in expand(spec, config.structure_folder):
            templates.append(structure_template(single, config.voxel_size, resolution=config.resolution))
    return with_complexes(config.complexes, templates)


def split_of(config: DatasetConfig, index: int) -> Split:
    """Which set a model belongs to: train first, then validation, then test.

    Raises
    ------
    InputError
        If there is no such model.
    """
    if not 0 <= index < config.models:
        raise InputError(f"model_{index} is none of the data set's {config.models} models; raise models")
    if index >= config.models - config.test:
        return "test"
    return "validation" if index >= config.models - config.test - config.validation else "train"


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
