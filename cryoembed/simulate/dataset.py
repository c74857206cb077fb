"""Whole data sets: ``model_N`` folders in SHREC 2021's layout, exact truth beside; resumable, repeatable."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import Field, model_validator

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing, replacing_folder
from cryoembed.io.mrc import write_mrc
from cryoembed.io.shrec import write_model
from cryoembed.simulate.density.phantoms import phantom, random_spec
from cryoembed.simulate.density.structures import StructureSpec, expand, structure_template
from cryoembed.simulate.density.template import Split, Template
from cryoembed.simulate.imaging.series import Imaged, ImagingConfig, image
from cryoembed.simulate.scene.sample import SampleConfig, compose
from cryoembed.simulate.scene.truth import Scene, shortfall

logger = logging.getLogger(__name__)

TABLE = "particles.parquet"
RECORD = "model.json"
SCHEMA = 1
_SECONDS_PER_MEGAVOXEL = 1.0  # one core, 10 A, ~150 particles in 3.5 megavoxels
_MEMORY_PER_VOXEL = 70
_HALVES = ("even", "odd", "clean")


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
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _splits_fit(self) -> DatasetConfig:
        if self.validation + self.test > self.models:
            raise ValueError(f"{self.validation} validation and {self.test} test models of {self.models} in all")
        return self


@dataclass(frozen=True)
class Written:
    """What `simulate_dataset` did."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    particles: int


def simulate_dataset(
    config: DatasetConfig, out: Path, *, progress: Callable[[float], None] = lambda _: None
) -> Written:
    """Write the models that ``out`` lacks; each folder appears whole or not at all.

    ``model_N`` holds ``reconstruction, grandmodel, class_mask, occupancy_mask`` (.mrc), ``particle_locations.txt``
    (SHREC 2021), ``particles.parquet`` (sub-voxel positions in A, rotations, masses) and ``model.json`` (split, drawn
    imaging parameters, crowding). Model N depends on the settings and N only, never on the order of making.

    Raises
    ------
    InputError
        If a setting is wrong, a model in ``out`` was made by other settings, crowding or counts can't be reached, or
        the disk is too small.
    """
    out = Path(out)
    digest = settings_digest(config)
    names = [f"model_{index}" for index in range(config.models)]
    kept = [name for name in names if _complete(out / name, digest)]
    todo = [index for index, name in enumerate(names) if name not in kept]
    _announce(config, out, len(todo), len(kept))
    shared = shared_templates(config) if todo else []
    particles = 0
    for index in todo:
        scene, imaged = simulate_model(config, index, shared)
        _write(out / names[index], scene, imaged, config, split_of(config, index), digest)
        particles += len(scene.particles)
        progress(1)
    return Written(tuple(names[index] for index in todo), tuple(kept), particles)


def simulate_model(config: DatasetConfig, index: int, shared: Sequence[Template] | None = None) -> tuple[Scene, Imaged]:
    """One model in memory: the sample with its truth, and its tomogram.

    Parameters
    ----------
    shared
        `shared_templates` of the config; made here if None.
    """
    generator = np.random.default_rng([config.seed, 1, index])
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
    imaged = image(scene.density, config.voxel_size, config.imaging, generator, occupancy=scene.macromolecule_mask())
    return scene, imaged


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


def settings_digest(config: DatasetConfig) -> str:
    """16 hex digits of everything that decides what a model holds (not of how many there are, or where they go)."""
    fields = set(DatasetConfig.model_fields) - {"models", "validation", "test", "allow_shortfall"}
    if config.separate_species:
        fields |= {"models", "validation", "test"}
    settings = config.model_dump(mode="json", include=fields - {"structure_folder", "structures"})
    species = [(_content(one.path), one.model_dump(mode="json", exclude={"path"})) for one in _files(config)]
    text = json.dumps({"schema": SCHEMA, **settings, "structures": species}, sort_keys=True)
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


def _complete(folder: Path, digest: str) -> bool:
    """Whether a finished model is there; one made by other settings is an error, never overwritten."""
    record = folder / RECORD
    if not record.is_file():
        return False
    try:
        made_by = json.loads(record.read_text()).get("settings")
    except json.JSONDecodeError:
        made_by = None
    if made_by != digest:
        raise InputError(f"{folder} was made with other settings; choose another --out or remove the folder")
    return True


def _announce(config: DatasetConfig, out: Path, todo: int, kept: int) -> None:
    """Log what is to come; refuse what the disk can't hold."""
    voxels = float(np.prod(config.shape))
    disk = todo * voxels * (4 + 4 + 1 + 2 + (12 if config.write_halves else 0)) / 1e9
    logger.info(
        "simulate: %d models to make, %d complete; about %.0f s, %.1f GB memory, %.2f GB disk",
        todo,
        kept,
        max(1.0, todo * voxels / 1e6 * _SECONDS_PER_MEGAVOXEL),
        voxels * _MEMORY_PER_VOXEL / 1e9 + 0.2,
        disk,
    )
    existing = next((parent for parent in (out, *out.resolve().parents) if parent.exists()), None)
    if existing is not None and (free := shutil.disk_usage(existing).free / 1e9) < disk:
        raise InputError(f"{out}: {disk:.2f} GB needed, {free:.2f} GB free; choose another --out or fewer models")


def _write(folder: Path, scene: Scene, imaged: Imaged, config: DatasetConfig, split: Split, digest: str) -> None:
    record = {
        "schema": SCHEMA,
        "settings": digest,
        "split": split,
        "classes": list(scene.classes),
        "contrast": config.imaging.contrast,
        "crowding": round(scene.crowding, 6),
        "missed": dict(scene.missed),
        **{name: round(value, 6) for name, value in imaged.params.items()},
    }
    with replacing_folder(folder) as temporary:
        write_model(
            temporary,
            reconstruction=imaged.reconstruction,
            grandmodel=scene.density,
            class_mask=scene.class_mask,
            occupancy_mask=scene.occupancy_mask,
            particles=scene.particles,
            voxel_size=config.voxel_size,
            classes=scene.classes,
        )
        if config.write_halves:
            for name in _HALVES:
                write_mrc(temporary / f"{name}.mrc", getattr(imaged, name), config.voxel_size)
        with replacing(temporary / TABLE) as table:
            scene.particles.table.to_parquet(table, index=False)
        with replacing(temporary / RECORD) as path:
            path.write_text(json.dumps(record, indent=1) + "\n")
