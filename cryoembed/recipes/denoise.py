"""``cryoembed denoise TOMOGRAM... --out DIR``: the voxel network's denoised volumes as MRC files.

Two halves (``--even E --odd O``) are denoised one by one and averaged.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.io.mrc import create_mrc, read_tomogram
from cryoembed.io.scratch import scratch_array, scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.recipes.halves import prepare_halves, read_halves
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.recipes.volumes import VolumesConfig, is_current, output_key, refuse_equal_names

if TYPE_CHECKING:
    from cryoembed.models.checkpoint import LoadedModel
    from cryoembed.preprocess.prepare import Prepared
    from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)


class DenoiseConfig(VolumesConfig):
    """What to denoise, with which network, into which folder."""

    tomograms: tuple[Path, ...] = ()
    even: Path | None = Field(None, description="reconstruction from even tilts or frames; with odd, and no tomograms")
    odd: Path | None = None
    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with a denoise head")

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> DenoiseConfig:
        if (self.even is None) != (self.odd is None) or bool(self.tomograms) == (self.even is not None):
            raise ValueError("give tomograms, or the two halves of one: even and odd")
        return self

    @property
    def inputs(self) -> tuple[tuple[Path, ...], ...]:
        """The files of each volume to be written: one, or two halves."""
        if self.even is None or self.odd is None:
            return tuple((path,) for path in self.tomograms)
        return ((self.even, self.odd),)


def denoise(config: DenoiseConfig) -> str:
    """Write ``NAME_denoised.mrc`` for every tomogram, or one for two halves (NAME is what their names begin with).

    The volume is float32 with particles bright, in the normalised grey values of the network, and at the network's
    voxel size where that differs from the tomogram's (the header and ``NAME_denoised.json`` tell); the parent frame
    is kept. A tomogram whose output is there, made from the same file by the same model and settings, is skipped.
    Halves are denoised one by one and averaged, as cryoCARE does.

    Returns
    -------
    What was kept, what was skipped, where it is.

    Raises
    ------
    InputError
        If a tomogram cannot be read or used, two have one name, halves do not belong together, the weights have no
        denoise head, or the folder cannot be written to. What was finished before stays.
    """
    names = [_name(paths) for paths in config.inputs]
    refuse_equal_names(names, "rename them, or take several folders")
    model = _load(config.weights)
    made, already = [], []
    for name, paths in zip(names, config.inputs, strict=True):
        volumes = _read(paths, config)
        key = "-".join(output_key(path, model.model_hash, config) for path in paths)
        target, record = _outputs(config.out, name)
        if is_current(record, key, [target]):
            already.append(name)
            continue
        _denoise_one(name, volumes, model, config, key)
        made.append(name)
    inputs = [path for paths in config.inputs for path in paths]
    write_records(config.out, config, inputs=inputs, models={"voxel": model.model_hash})
    skipped = f", skipped {len(already)} done before by the same model and settings" if already else ""
    return f"denoised {len(made)} tomogram{'s' * (len(made) != 1)}{skipped}: {config.out}"


def _name(paths: tuple[Path, ...]) -> str:
    """The tomogram's, or what the names of its halves have in common at their beginning, else at their end."""
    names = [tomogram_name(path) for path in paths]
    if len(set(names)) == 1:
        return names[0]
    shared = _common(names).strip("_-. ") or _common([name[::-1] for name in names])[::-1].strip("_-. ")
    if not shared:
        raise InputError(f"the halves {' and '.join(names)} have no name in common; name both after their tomogram")
    return shared


def _common(names: list[str]) -> str:
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def _read(paths: tuple[Path, ...], config: DenoiseConfig) -> tuple[Tomogram, ...]:
    if len(paths) == 2:
        return read_halves(*paths, voxel_size=config.voxel_size, origin=config.origin)
    return (read_tomogram(paths[0], voxel_size=config.voxel_size, origin=config.origin),)


def _denoise_one(
    name: str, tomograms: tuple[Tomogram, ...], model: LoadedModel, config: DenoiseConfig, key: str
) -> None:
    target, record = _outputs(config.out, name)
    with scratch_folder(config.out) as scratch, progress_bar(name, len(tomograms)) as advance:
        volumes = _prepared(tomograms, model, config, scratch)
        for volume in volumes:
            log.info("%s: %s", volume.tomogram.name, volume.record.contrast_reason)
        record.unlink(missing_ok=True)  # vouches for an output that is now replaced
        first = volumes[0].tomogram
        with create_mrc(target, first.shape, "float32", first.voxel_size, origin=first.origin) as denoised:
            _predict(model, first, config, denoised, advance)
            for other in volumes[1:]:
                second = scratch_array(scratch, "second", first.shape, np.float32)
                _predict(model, other.tomogram, config, second, advance)
                for plane, further in zip(denoised, second, strict=True):
                    plane[:] = (plane + further) / 2
    with replacing(record) as temporary:  # last
        details = {"key": key, "input": volumes[0].record.model_dump(mode="json")}
        if len(volumes) > 1:
            details["second_input"] = volumes[1].record.model_dump(mode="json")
        temporary.write_text(json.dumps(details, indent=1) + "\n")


def _prepared(
    tomograms: tuple[Tomogram, ...], model: LoadedModel, config: DenoiseConfig, scratch: Path
) -> tuple[Prepared, ...]:
    from cryoembed.preprocess.prepare import prepare

    settings = model.card.input
    if len(tomograms) == 2:
        return prepare_halves((tomograms[0], tomograms[1]), settings, contrast=config.contrast, scratch=scratch)
    return (prepare(tomograms[0], settings, contrast=config.contrast, scratch=scratch),)


def _predict(
    model: LoadedModel, volume: Tomogram, config: DenoiseConfig, out: npt.NDArray[Any], advance: Callable[[float], None]
) -> None:
    from cryoembed.infer.voxels import predict_volume

    predict_volume(
        model.module,  # type: ignore[arg-type]  # `_load` has looked
        volume.data,
        outputs=("denoise",),
        device=config.device,
        precision=config.precision,
        memory=config.tile_memory_gb,
        out={"denoise": out},
        progress=advance,
    )


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
