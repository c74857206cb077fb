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
from cryoembed.instances.measure import measure
from cryoembed.instances.segment import InstanceConfig, segment_instances
from cryoembed.io.scratch import scratch_array
from cryoembed.models.checkpoint import LoadedModel, find_weights, load_weights
from cryoembed.models.dense_simsiam import VoxelNetwork
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


def load_voxel_model(weights: str) -> LoadedModel:
    """Load bundled weights by name, or a ``.safetensors`` file; `InputError` unless it has the instance head."""
    model = load_weights(find_weights(weights))
    if not isinstance(model.module, VoxelNetwork) or "instance" not in model.module.config.heads:
        raise InputError(
            f"weights {weights} have no instance head; train one with `cryoembed train`, or use voxel_small"
        )
    return model


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
    if not isinstance(model.module, VoxelNetwork):
        raise InputError(f"{model.card.name}: expected a voxel network, got {type(model.module).__name__}")
    prepared = prepare(tomogram, model.card.input, contrast=contrast, scratch=scratch)
    log.info("%s: %s", tomogram.name, prepared.record.contrast_reason)
    outputs = tuple(dict.fromkeys((*INSTANCE_MAPS, *further_maps)))
    volume = prepared.tomogram
    maps = predict_volume(
        model.module,
        volume.data,
        outputs=outputs,
        device=device,
        precision=precision,
        memory=tile_memory_gb,
        out=None
        if scratch is None
        else {
            name: scratch_array(scratch, name, _map_shape(name, model.module, volume.shape), np.float16)
            for name in outputs
        },
        progress=progress,
    )
    distance, boundary, foreground = (maps[name] for name in INSTANCE_MAPS)
    labels = segment_instances(distance, boundary, foreground, config, voxel_size=volume.voxel_size)
    particles = measure(labels, volume.voxel_size, tomogram=volume.name, origin=volume.origin, score_map=foreground)
    ids = particle_ids(volume.name, particles.positions_zyx, model.model_hash)
    return FoundInstances(prepared, labels, particles.with_columns(particle_id=ids), maps)


def _map_shape(name: str, network: VoxelNetwork, shape: tuple[int, int, int]) -> tuple[int, ...]:
    return (network.config.voxel_dim, *shape) if name == "embedding" else shape
