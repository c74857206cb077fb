"""``cryoembed segment TOMOGRAM... --out DIR``: all particles as labels and class-blind picks; classes; the lamella."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.instances.config import InstanceConfig
from cryoembed.io import TomogramInfo, read_tomogram, write_mrc, write_particles
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc import create_mrc
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.plot.image import write_png
from cryoembed.plot.voxel_embedding import embedding_picture
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.recipes.volumes import VolumesConfig, is_current, output_key, refuse_equal_names
from cryoembed.semantic import SEMANTIC_CLASSES

if TYPE_CHECKING:
    from cryoembed.models.checkpoint import LoadedModel
    from cryoembed.recipes.find_instances import FoundInstances
    from cryoembed.tomogram import Tomogram

Task = Literal["instance", "semantic", "lamella"]
ENDINGS: dict[Task, tuple[str, ...]] = {
    "instance": ("_instances.mrc", "_particles.star", "_particles.csv"),
    "semantic": ("_semantic.mrc",),
    "lamella": ("_lamella.mrc",),
}
PICTURE = "_embedding.png"
LAMELLA_THRESHOLD = 0.5


class SegmentConfig(VolumesConfig):
    """What to segment, with which network, into which folder."""

    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with the heads of the tasks")
    tasks: tuple[Task, ...] = Field(("instance",), min_length=1)
    instances: InstanceConfig = InstanceConfig()
    picture: bool = Field(
        False, description="also NAME_embedding.png: the middle slice, and its voxel embeddings as colours"
    )


def segment(config: SegmentConfig) -> str:
    """Write what the tasks give of every tomogram, at the network's voxel size.

    ``instance``: ``NAME_instances.mrc`` and the picks ``NAME_particles.star`` (RELION 5) and ``.csv``, in A of the
    tomogram's parent frame, best score first. ``semantic``: ``NAME_semantic.mrc``, the likeliest class of each voxel by
    its number in `SEMANTIC_CLASSES`. ``lamella``: ``NAME_lamella.mrc``, 1 inside the sample, 0 outside. With ``picture``
    also ``NAME_embedding.png``: the middle slice of the prepared tomogram, and beside it the voxel embeddings there as
    colours (their first three principal components); until it is written the embeddings of the whole volume need scratch
    space of 2 bytes per voxel and dimension. A tomogram whose outputs are there, made from the same file by the same
    model and settings, is skipped.

    Returns
    -------
    What was kept, what was skipped, where it is.

    Raises
    ------
    InputError
        If a tomogram cannot be read or used, the network lacks a head, two tomograms have one name, or the folder cannot
        be written to. What was finished before stays.
    """
    from cryoembed.recipes.find_instances import load_voxel_model, needed_heads

    names = [tomogram_name(path) for path in config.tomograms]
    refuse_equal_names(names, "rename them, or segment them into several folders")
    further = needed_heads(config.instances) if "instance" in config.tasks else ()
    model = load_voxel_model(config.weights, tuple(dict.fromkeys((*config.tasks, *further))))
    counts: dict[str, int | None] = {}
    already = []
    for path in config.tomograms:
        tomogram = read_tomogram(path, voxel_size=config.voxel_size, origin=config.origin)
        # a picture asked for is part of the key: one left by a run with other settings must not pass for new
        asked = ("instances", "tasks", "picture") if config.picture else ("instances", "tasks")
        key = output_key(path, model.model_hash, config, *asked)
        record = _output(config, tomogram, "_segment.json")
        endings = [ending for task in config.tasks for ending in ENDINGS[task]] + [PICTURE] * config.picture
        if is_current(record, key, [_output(config, tomogram, ending) for ending in endings]):
            already.append(tomogram.name)
            continue
        counts[tomogram.name] = _segment_one(tomogram, model, config, key, record)
    write_records(config.out, config, inputs=config.tomograms, models={"voxel": model.model_hash})
    return _closing_line(config.out, counts, already)


def _segment_one(tomogram: Tomogram, model: LoadedModel, config: SegmentConfig, key: str, record: Path) -> int | None:
    """Write everything of one tomogram; returns the number of its particles, None if they were not asked for."""
    from cryoembed.recipes.find_instances import find_instances, predict_maps

    found: FoundInstances | None = None
    further = [task for task in ("semantic", "lamella") if task in config.tasks] + ["embedding"] * config.picture
    with scratch_folder(config.out) as scratch, progress_bar(tomogram.name, 1.0) as advance:
        settings: dict[str, Any] = {
            "contrast": config.contrast,
            "device": config.device,
            "precision": config.precision,
            "tile_memory_gb": config.tile_memory_gb,
            "scratch": scratch,
            "progress": advance,
        }
        if "instance" in config.tasks:
            found = find_instances(tomogram, model, config.instances, further_maps=further, **settings)
            prepared, maps = found.prepared, found.maps
        else:
            prepared, maps = predict_maps(tomogram, model, further, **settings)
        frame = prepared.tomogram
        record.unlink(missing_ok=True)  # vouches for outputs that are now replaced
        if found is not None:
            target = _output(config, tomogram, "_instances.mrc")
            write_mrc(target, found.labels, frame.voxel_size, origin=frame.origin)
        _write_dense(tomogram, frame, maps, config)
        if config.picture:
            image = embedding_picture(frame.data, maps["embedding"], frame.shape[0] // 2)
            write_png(_output(config, tomogram, PICTURE), image)
    details: dict[str, Any] = {"key": key, "input": prepared.record.model_dump(mode="json")}
    if found is not None:
        picks = found.particles.sorted_by_score()
        write_particles(_output(config, tomogram, "_particles.csv"), picks)
        info = {tomogram.name: TomogramInfo.of(tomogram)}
        write_particles(_output(config, tomogram, "_particles.star"), picks, tomograms=info)
        details["count"] = len(picks)
    if "semantic" in config.tasks:
        details["semantic_classes"] = list(SEMANTIC_CLASSES)
    with replacing(record) as temporary:  # last
        temporary.write_text(json.dumps(details, indent=1) + "\n")
    return None if found is None else len(found.particles)


def _write_dense(
    tomogram: Tomogram, frame: Tomogram, maps: Mapping[str, npt.NDArray[Any]], config: SegmentConfig
) -> None:
    """Labels of classes and the mask of the lamella, plane by plane: the maps are larger than memory."""
    for task in ("semantic", "lamella"):
        if task not in config.tasks:
            continue
        target = _output(config, tomogram, ENDINGS[task][0])
        with create_mrc(target, frame.shape, np.int8, frame.voxel_size, origin=frame.origin) as labels:
            for index in range(len(labels)):
                plane = maps[task][..., index, :, :]
                labels[index] = plane.argmax(axis=0) if task == "semantic" else plane > LAMELLA_THRESHOLD


def _output(config: SegmentConfig, tomogram: Tomogram, ending: str) -> Path:
    return config.out / f"{tomogram.name}{ending}"


def _closing_line(out: Path, counts: dict[str, int | None], already: list[str]) -> str:
    made = f"{len(counts)} tomogram{'s' * (len(counts) != 1)}"
    numbers = [count for count in counts.values() if count is not None]
    kept = f"kept {sum(numbers)} particles in {made}" if numbers or not counts else f"labelled {made}"
    empty = [name for name, count in counts.items() if count == 0]
    remarks = [f"none found in {', '.join(empty)}"] if empty else []
    if already:
        remarks.append(f"skipped {', '.join(already)}, done before with the same model and settings")
    return "; ".join([kept, *(remarks or ["skipped none"]), f"written to {out}"])
