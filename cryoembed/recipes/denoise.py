"""``cryoembed denoise TOMOGRAM... --out DIR``: the voxel network's denoised volumes as MRC files."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc import create_mrc, read_tomogram
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.preprocess.config import Contrast
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.store.manifest import fingerprint

if TYPE_CHECKING:
    from cryoembed.models.checkpoint import LoadedModel
    from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)


class DenoiseConfig(Config):
    """What to denoise, with which network, into which folder."""

    tomograms: tuple[Path, ...] = Field(min_length=1)
    out: Path
    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with a denoise head")
    contrast: Contrast = "auto"
    voxel_size: float | None = Field(None, gt=0, description="A; overrides the header")
    origin: Triple = Field(ORIGIN, description="A, zyx; where voxel 0 of every tomogram lies in its parent frame")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tile_memory_gb: float | None = Field(
        None, gt=0, description="working memory of the network; None: a share of what is free"
    )


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
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several tomograms are called {', '.join(twice)}; rename them, or take several folders")
    model = _load(config.weights)
    made, already = [], []
    for path in config.tomograms:
        tomogram = read_tomogram(path, voxel_size=config.voxel_size, origin=config.origin)
        key = _key(path, config, model.model_hash)
        if _is_done(config.out, tomogram.name, key):
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
    from cryoembed.models.checkpoint import bundled_weights, load_weights
    from cryoembed.models.dense_simsiam import VoxelNetwork

    path = Path(weights)
    model = load_weights(path if path.suffix == ".safetensors" or path.exists() else bundled_weights(weights))
    if not isinstance(model.module, VoxelNetwork) or "denoise" not in model.module.config.heads:
        raise InputError(
            f"weights {weights} have no denoise head; train one with `cryoembed train`, or use voxel_small"
        )
    return model


def _key(path: Path, config: DenoiseConfig, model_hash: str) -> str:
    """Changes with the file, the model and every setting that changes the result."""
    settings = config.model_dump(mode="json", include={"contrast", "voxel_size", "origin", "precision"})
    text = json.dumps([fingerprint(path), model_hash, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_done(out: Path, name: str, key: str) -> bool:
    target, record = _outputs(out, name)
    try:
        return target.is_file() and bool(json.loads(record.read_text())["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _outputs(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}_denoised.mrc", out / f"{name}_denoised.json"
