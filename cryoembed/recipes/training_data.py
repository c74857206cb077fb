"""What trainings see: structures that join the phantoms, simulated data sets on disk, or endless streams of samples."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.particles import is_molecule
from cryoembed.preprocess.config import InputConfig
from cryoembed.semantic import SEMANTIC_CLASSES
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.library import known
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.digest import settings_digest
from cryoembed.simulate.finished import RECORD
from cryoembed.views.pool import SubtomogramConfig
from cryoembed.views.rolling import Fixed, Rolling
from cryoembed.views.scenes import CleanScene, SceneConfig, build_scenes, clean_scene, numbered_scene
from cryoembed.views.stream import check_crops_fit, endless, simulated_scene
from cryoembed.views.structures import check_sample, load_structures
from cryoembed.views.targets import semantic_classes

logger = logging.getLogger(__name__)

STREAM_EVERY = 4  # batches; a scene of 96 x 160 x 160 voxels takes as long as one or two small training steps


def read_stream(value: Any) -> Any:
    """Settings of `simulate` given as the path of their YAML file; validators call it."""
    return load_config(DatasetConfig, Path(value)) if isinstance(value, str | Path) else value


Stream = Annotated[DatasetConfig | None, BeforeValidator(read_stream)]


def check_input(inputs: InputConfig, data: SceneConfig | SubtomogramConfig) -> None:
    """Refuse data that are drawn otherwise than the network's input is prepared (`ValueError`, for validators)."""
    if inputs.scale != "zscore":
        raise ValueError("trainings draw views of mean 0 and s.d. 1: input.scale must be zscore")
    if data.voxel_size != inputs.voxel_size:
        raise ValueError(f"data.voxel_size {data.voxel_size} differs from input.voxel_size {inputs.voxel_size}")
    if data.flatten != inputs.flatten:
        raise ValueError(f"input.flatten is {inputs.flatten}, data.flatten {data.flatten}: give both or neither")


def check_stream(data: SceneConfig, stream: DatasetConfig | None, dataset: Path | None) -> None:
    """Refuse settings of endless data that contradict each other (`ValueError`, for validators)."""
    if dataset is not None and (stream is not None or data.refresh_every):
        raise ValueError("dataset is a fixed set of scenes: leave out stream and data.refresh_every, or dataset")
    if stream is None:
        if data.packed_share:
            raise ValueError("data.packed_share is of the scenes of a stream: give one, or leave it out")
        return
    check_crops_fit(data, stream)


def training_summary(
    data: SceneConfig | SubtomogramConfig,
    dataset: Path | None,
    stream: DatasetConfig | None,
    structures: Sequence[StructureSpec] = (),
) -> str:
    """One line for a model card; it names structures, and species that should have been held back."""
    if dataset is not None:
        seen = sorted({name for folder in _training_folders(dataset) for name in _held_back(folder)})
        return f"data set {dataset.name}" + (f", with the held-back species {', '.join(seen)}" if seen else "")
    named = [spec.name or spec.pdb or str(spec.path) for spec in (stream.structures if stream else structures)]
    real = f"; structures of the training split: {', '.join(named)}" if named else ""
    if stream is None:
        return data.summary + real
    packed = (
        f"{data.packed_share:.0%} of them phantoms alone" if isinstance(data, SceneConfig) and data.packed_share else ""
    )
    return (
        f"endless simulated samples of {stream.shape} voxels of {stream.voxel_size:g} A (settings "
        f"{settings_digest(stream)}), a new one every {refresh_every(data)} batches{packed and ', ' + packed}{real}"
    )


def training_files(
    *,
    dataset: Path | None,
    stream: DatasetConfig | None,
    structures: Sequence[StructureSpec],
    structure_folder: Path = Path(),
) -> list[Path]:
    """Files that simulated training data are made of, or read from, for the provenance."""
    if dataset is not None:
        return [path for folder in _training_folders(dataset) for path in sorted(folder.glob("*.mrc"))]
    specs, folder = (structures, structure_folder) if stream is None else (stream.structures, stream.structure_folder)
    return [Path(one.file) for spec in specs for one in expand(spec, folder)]


def refresh_every(data: SceneConfig | SubtomogramConfig) -> int:
    """Batches between two new samples of a stream."""
    return data.refresh_every or STREAM_EVERY


def scene_source(
    config: SceneConfig,
    *,
    dataset: Path | None,
    stream: DatasetConfig | None,
    structures: Sequence[StructureSpec],
    inputs: InputConfig,
    composers: int,
    held_back: bool = False,
) -> Fixed[list[CleanScene]] | Rolling[CleanScene]:
    """Scenes that batches are drawn from: all at once, or a window that rolls over an endless sequence.

    Parameters
    ----------
    stream
        The samples of models 0, 1, 2 ... that `simulate` would make of these settings, without end, all for training.
    composers
        Processes that make scenes ahead.
    held_back
        See `load_scenes`.

    Raises
    ------
    InputError
        See `load_structures` and `load_scenes`.
    """
    if stream is not None:
        check_sample(stream)
        make = partial(simulated_scene, config, endless(stream))
        return Rolling(make, config.scenes, refresh_every(config), processes=composers)
    templates = load_structures(structures, config.voxel_size)
    if config.refresh_every:
        make = partial(numbered_scene, config, templates)
        return Rolling(make, config.scenes, config.refresh_every, processes=composers)
    return Fixed(load_scenes(config, dataset, templates, inputs, held_back=held_back))


def load_scenes(
    config: SceneConfig,
    dataset: Path | None,
    structures: Sequence[Template],
    inputs: InputConfig,
    *,
    held_back: bool = False,
) -> list[CleanScene]:
    """Scenes of a data set folder, or newly packed ones where there is none.

    Parameters
    ----------
    held_back
        Whether a data set may show species of the validation and test splits.

    Raises
    ------
    InputError
        If the folder holds no ``model_N``, a model has another voxel size than the network, or species that are to be
        held back.
    """
    if dataset is None:
        logger.info("packing %d scenes of %s voxels", config.scenes, " x ".join(map(str, config.shape_zyx)))
        return build_scenes(config, structures)
    folders = _training_folders(dataset)
    for folder in folders:
        if (seen := _held_back(folder)) and not held_back:
            raise InputError(
                f"{folder} shows species that are held back: {', '.join(f'{n} ({s})' for n, s in seen.items())}; "
                "train on other species, or set held_back: true for a network that is not scored on them or given away"
            )
    return [_recorded_scene(folder, config, inputs) for folder in folders]


def _training_folders(dataset: Path) -> list[Path]:
    found = sorted(path for path in Path(dataset).glob("model_*") if path.is_dir())
    if not found:
        raise InputError(f"data set {dataset} holds no folder model_N; make one with cryoembed simulate")
    # data sets of others have no record: they are for training
    folders = [folder for folder in found if _record(folder).get("split", "train") == "train"]
    if not folders:
        raise InputError(f"data set {dataset}: all models are held back for validation or test; simulate more models")
    logger.info("%d models of %s; %d held back", len(folders), dataset, len(found) - len(folders))
    return folders


def _held_back(folder: Path) -> dict[str, str]:
    """Species of a model that trainings may not see, and their split; by the library where the model does not say."""
    from cryoembed.io.shrec import read_model

    species = _record(folder).get("species")
    if species is None:
        found = {name: known(name) for name in read_model(folder).classes}
        species = {name: entry.split for name, entry in found.items() if entry is not None}
    return {name: split for name, split in sorted(species.items()) if split != "train"}


def _record(folder: Path) -> dict[str, Any]:
    """What a simulated model says of itself."""
    record = folder / RECORD
    return dict(json.loads(record.read_text())) if record.is_file() else {}


def _recorded_scene(folder: Path, config: SceneConfig, inputs: InputConfig) -> CleanScene:
    from cryoembed.io.shrec import read_model
    from cryoembed.preprocess.prepare import prepare

    model = read_model(folder)
    if not np.isclose(model.grandmodel.voxel_size, config.voxel_size, rtol=1e-3):
        raise InputError(
            f"{folder}: voxel size {model.grandmodel.voxel_size} A, but data.voxel_size is {config.voxel_size}; "
            "simulate at the network's voxel size"
        )
    keep = np.concatenate([[False], is_molecule(model.particles.labels)])
    ids = np.asarray(model.occupancy_mask.data, dtype=np.int32)
    density = np.asarray(model.grandmodel.data, dtype=np.float32)
    # the truth says which sign particles have; no need to guess
    agreement = np.vdot(density - density.mean(), np.asarray(model.reconstruction.data, dtype=np.float32))
    recorded = prepare(model.reconstruction, inputs, contrast="bright" if agreement > 0 else "dark").tomogram.data
    return clean_scene(
        density,
        np.where(keep[ids], ids, 0).astype(np.int32),
        config,
        classes=semantic_classes(np.asarray(model.class_mask.data, dtype=np.int32), model.classes),
        inside=_recorded_inside(folder, density.shape),
        recorded=recorded,
    )


def _recorded_inside(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    """Where the sample of a model is; None where its files do not say: data sets of others, and around one in a cube."""
    from cryoembed.io.mrc import read_mrc

    path = folder / "lamella_mask.mrc"
    record = _record(folder)
    if not record or any(record.get("cube_offset_vox", ())):
        return None
    return np.asarray(read_mrc(path)[0] > 0, dtype=np.uint8) if path.is_file() else np.ones(shape, dtype=np.uint8)


def check_truth(scenes: Sequence[CleanScene], tasks: Sequence[str]) -> None:
    """Refuse to train the lamella head on scenes that show no border of the sample, and name classes that none has.

    Raises
    ------
    InputError
        If ``lamella`` is a task and no scene has an inside and an outside.
    """
    if "lamella" in tasks and not any({0, 1} <= set(np.unique(scene.inside).tolist()) for scene in scenes):
        raise InputError(
            "no scene has an inside and an outside of the sample for the lamella head to learn: simulate an envelope "
            "(`envelope: {kind: lamella}` or cell, in a stream or data set), or leave lamella out of tasks"
        )
    if "semantic" in tasks:
        seen = {int(number) for scene in scenes for number in np.unique(scene.classes)}
        lacking = [name for number, name in enumerate(SEMANTIC_CLASSES) if number not in seen]
        if lacking:
            logger.warning("none of the first %d scenes has %s", len(scenes), ", ".join(lacking))
