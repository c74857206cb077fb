"""Tomogram to particles, whatever they are: prepare, predict maps, segment, measure. Used by several verbs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.infer.voxels import predict_volume
from cryoembed.instances.inside import keep_inside
from cryoembed.instances.measure import measure
from cryoembed.instances.segment import InstanceConfig, segment_instances
from cryoembed.io.scratch import scratch_array
from cryoembed.models.checkpoint import LoadedModel, find_weights, load_weights
from cryoembed.models.config import Head
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.heads import map_shape
from cryoembed.particles import Particles, particle_ids
from cryoembed.preprocess.config import Contrast
from cryoembed.preprocess.prepare import Prepared, prepare
from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)

INSTANCE_MAPS = ("distance", "boundary", "foreground")


@dataclass(frozen=True, eq=False)
class FoundInstances:
    """What `find_instances` found in one tomogram.

    Parameters
    ----------
    prepared
        The network's input and its record; ``prepared.tomogram`` gives the frame of ``labels`` and ``maps``.
    labels
        (z, y, x) int32 instances, 1..n.
    particles
        One row per instance in A of the parent frame, with ``particle_id``.
    maps
        The dense maps by name; memory maps where a scratch folder was given.
    """

    prepared: Prepared
    labels: npt.NDArray[np.int32]
    particles: Particles
    maps: dict[str, npt.NDArray[Any]]


def load_voxel_model(weights: str, heads: Sequence[Head] = ("instance",)) -> LoadedModel:
    """Load bundled weights by name, or a ``.safetensors`` file; `InputError` unless it has the heads."""
    model = load_weights(find_weights(weights))
    has = model.module.config.heads if isinstance(model.module, VoxelNetwork) else ()
    if missing := [head for head in heads if head not in has]:
        raise InputError(
            f"weights {weights} have no {' and no '.join(missing)} head; train one with `cryoembed train`, or use "
            "voxel_small"
        )
    return model


def needed_heads(config: InstanceConfig) -> tuple[Head, ...]:
    """The heads that finding instances takes."""
    return ("instance", "lamella") if config.inside_lamella else ("instance",)


def predict_maps(
    tomogram: Tomogram,
    model: LoadedModel,
    outputs: Sequence[str],
    *,
    contrast: Contrast = "auto",
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    tile_memory_gb: float | None = None,
    scratch: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Prepared, dict[str, npt.NDArray[Any]]]:
    """Prepare a tomogram and compute dense maps of it, all in one pass; see `find_instances` for the settings."""
    if not isinstance(model.module, VoxelNetwork):
        raise InputError(f"{model.card.name}: expected a voxel network, got {type(model.module).__name__}")
    prepared = prepare(tomogram, model.card.input, contrast=contrast, scratch=scratch)
    log.info("%s: %s", tomogram.name, prepared.record.contrast_reason)
    volume = prepared.tomogram
    out, dim = None, model.module.config.voxel_dim
    if scratch is not None:
        out = {name: scratch_array(scratch, name, map_shape(name, volume.shape, dim), np.float16) for name in outputs}
    maps = predict_volume(
        model.module,
        volume.data,
        outputs=outputs,
        device=device,
        precision=precision,
        memory=tile_memory_gb,
        out=out,
        progress=progress,
    )
    return prepared, maps


def find_instances(
    tomogram: Tomogram,
    model: LoadedModel,
    config: InstanceConfig,
    *,
    contrast: Contrast = "auto",
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    tile_memory_gb: float | None = None,
    further_maps: Sequence[str] = (),
    scratch: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> FoundInstances:
    """Find every particle of a tomogram with the voxel network (CryoSiam, section 3.2).

    Parameters
    ----------
    tomogram
        As read; contrast, voxel size and scale are brought to what the model card says.
    model
        A voxel network with the instance head, from `load_voxel_model`.
    config
        How maps become instances.
    contrast, device, precision, tile_memory_gb
        See `prepare` and `predict_volume`.
    further_maps
        Outputs besides distance, boundary and foreground, computed in the same pass (``"denoise"``, ``"embedding"``).
    scratch
        A folder for the prepared volume and the maps (float16), which the caller removes; None keeps them in memory.
    progress
        Called with shares of the prediction that add up to 1.

    Raises
    ------
    InputError
        If the tomogram cannot be used (see `prepare`) or the model lacks an output.
    """
    lamella = ("lamella",) if config.inside_lamella else ()
    prepared, maps = predict_maps(
        tomogram,
        model,
        tuple(dict.fromkeys((*INSTANCE_MAPS, *lamella, *further_maps))),
        contrast=contrast,
        device=device,
        precision=precision,
        tile_memory_gb=tile_memory_gb,
        scratch=scratch,
        progress=progress,
    )
    volume = prepared.tomogram
    distance, boundary, foreground = (maps[name] for name in INSTANCE_MAPS)
    labels = segment_instances(distance, boundary, foreground, config, voxel_size=volume.voxel_size)
    if config.inside_lamella:
        labels = keep_inside(labels, maps["lamella"])
    particles = measure(labels, volume.voxel_size, tomogram=volume.name, origin=volume.origin, score_map=foreground)
    ids = particle_ids(volume.name, particles.positions_zyx, model.model_hash)
    return FoundInstances(prepared, labels, particles.with_columns(particle_id=ids), maps)
