"""``cryoembed denoise TOMOGRAM... --out DIR``: the voxel network's denoised volumes as MRC files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc import create_mrc, read_tomogram
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.recipes.volumes import VolumesConfig, is_current, output_key, refuse_equal_names

if TYPE_CHECKING:
    from cryoembed.models.checkpoint import LoadedModel
    from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)


class DenoiseConfig(VolumesConfig):
    """What to denoise, with which network, into which folder."""

    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with a denoise head")


def denoise(config: DenoiseConfig) -> str:
    """Write ``NAME_denoised.mrc`` for every tomogram.

    The volume is float32 with particles bright, in the normalised grey values of the network, and at the network's
    voxel size where that differs from the tomogram's (the header and ``NAME_denoised.json`` tell); the parent frame
    is kept. A tomogram whose output is there, made from the same file by the same model and settings, is skipped.

    Returns
    -------
    What was kept, what was skipped, where it is.

    Raises
    ------
    InputError
        If a tomogram cannot be read or used, two have one name, the weights have no denoise head, or the folder cannot
        be written to. What was finished before stays.
    """
    names = [tomogram_name(path) for path in config.tomograms]
    refuse_equal_names(names, "rename them, or take several folders")
    model = _load(config.weights)
    made, already = [], []
    for path in config.tomograms:
        tomogram = read_tomogram(path, voxel_size=config.voxel_size, origin=config.origin)
        key = output_key(path, model.model_hash, config)
        target, record = _outputs(config.out, tomogram.name)
        if is_current(record, key, [target]):
            already.append(tomogram.name)
            continue
        _denoise_one(tomogram, model, config, key)
        made.append(tomogram.name)
    write_records(config.out, config, inputs=config.tomograms, models={"voxel": model.model_hash})
    skipped = f", skipped {len(already)} done before by the same model and settings" if already else ""
    return f"denoised {len(made)} tomogram{'s' * (len(made) != 1)}{skipped}: {config.out}"


def _denoise_one(tomogram: Tomogram, model: LoadedModel, config: DenoiseConfig, key: str) -> None:
    from cryoembed.infer.voxels import predict_volume
    from cryoembed.preprocess.prepare import prepare

    target, record = _outputs(config.out, tomogram.name)
    with scratch_folder(config.out) as scratch, progress_bar(tomogram.name, 1.0) as advance:
        prepared = prepare(tomogram, model.card.input, contrast=config.contrast, scratch=scratch)
        log.info("%s: %s", tomogram.name, prepared.record.contrast_reason)
        volume = prepared.tomogram
        record.unlink(missing_ok=True)  # vouches for an output that is now replaced
        with create_mrc(target, volume.shape, "float32", volume.voxel_size, origin=volume.origin) as denoised:
            predict_volume(
                model.module,  # type: ignore[arg-type]  # `_load` has looked
                volume.data,
                outputs=("denoise",),
                device=config.device,
                precision=config.precision,
                memory=config.tile_memory_gb,
                out={"denoise": denoised},
                progress=advance,
            )
    with replacing(record) as temporary:  # last
        details = {"key": key, "input": prepared.record.model_dump(mode="json")}
        temporary.write_text(json.dumps(details, indent=1) + "\n")


def _load(weights: str) -> LoadedModel:
    from cryoembed.models.checkpoint import find_weights, load_weights
    from cryoembed.models.dense_simsiam import VoxelNetwork

    model = load_weights(find_weights(weights))
    if not isinstance(model.module, VoxelNetwork) or "denoise" not in model.module.config.heads:
        raise InputError(
            f"weights {weights} have no denoise head; train one with `cryoembed train`, or use voxel_small"
        )
    return model


def _outputs(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}_denoised.mrc", out / f"{name}_denoised.json"
