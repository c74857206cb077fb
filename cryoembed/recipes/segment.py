"""``cryoembed segment TOMOGRAM... --out DIR``: all particles, as label volumes and class-blind picks."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.instances.config import InstanceConfig
from cryoembed.io import TomogramInfo, read_tomogram, write_mrc, write_particles
from cryoembed.io.atomic import replacing
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.preprocess.config import Contrast
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.store.manifest import fingerprint

log = logging.getLogger(__name__)


class SegmentConfig(Config):
    """What to segment, with which network, into which folder."""

    tomograms: tuple[Path, ...] = Field(min_length=1)
    out: Path
    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with an instance head")
    contrast: Contrast = "auto"
    voxel_size: float | None = Field(None, gt=0, description="A; overrides the header")
    origin: Triple = Field(ORIGIN, description="A, zyx; where voxel 0 of every tomogram lies in its parent frame")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tile_memory_gb: float | None = Field(
        None, gt=0, description="working memory of the network; None: a share of what is free"
    )
    instances: InstanceConfig = InstanceConfig()


def segment(config: SegmentConfig) -> str:
    """Write ``NAME_instances.mrc``, ``NAME_particles.star`` (RELION 5) and ``.csv`` for every tomogram.

    The label volume is at the network's voxel size; picks are in A of the tomogram's parent frame, best score first.
    A tomogram whose outputs are there, made from the same file by the same model and settings, is skipped.

    Returns
    -------
    What was kept, what was skipped, where it is.

    Raises
    ------
    InputError
        If a tomogram cannot be read or used, two have one name, or the folder cannot be written to. What was finished
        before stays.
    """
    from cryoembed.recipes.find_instances import find_instances, load_voxel_model

    _refuse_equal_names(config.tomograms)
    model = load_voxel_model(config.weights)
    counts, already = {}, []
    for path in config.tomograms:
        tomogram = read_tomogram(path, voxel_size=config.voxel_size, origin=config.origin)
        key = _key(path, config, model.model_hash)
        if _is_done(config.out, tomogram.name, key):
            already.append(tomogram.name)
            continue
        with scratch_folder(config.out) as scratch, progress_bar(tomogram.name, 1.0) as advance:
            found = find_instances(
                tomogram,
                model,
                config.instances,
                contrast=config.contrast,
                device=config.device,
                precision=config.precision,
                tile_memory_gb=config.tile_memory_gb,
                scratch=scratch,
                progress=advance,
            )
            frame = found.prepared.tomogram
            stem = config.out / tomogram.name
            _output(stem, "_segment.json").unlink(missing_ok=True)  # vouches for outputs that are now replaced
            write_mrc(_output(stem, "_instances.mrc"), found.labels, frame.voxel_size, origin=frame.origin)
        picks = found.particles.sorted_by_score()
        write_particles(_output(stem, "_particles.csv"), picks)
        info = TomogramInfo.of(tomogram)
        write_particles(_output(stem, "_particles.star"), picks, tomograms={tomogram.name: info})
        record = {"key": key, "count": len(picks), "input": found.prepared.record.model_dump(mode="json")}
        with replacing(_output(stem, "_segment.json")) as temporary:  # last
            temporary.write_text(json.dumps(record, indent=1) + "\n")
        counts[tomogram.name] = len(picks)
    write_records(config.out, config, inputs=config.tomograms, models={"voxel": model.model_hash})
    return _closing_line(config.out, counts, already)


def _refuse_equal_names(paths: tuple[Path, ...]) -> None:
    names = [tomogram_name(path) for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"several tomograms are called {', '.join(twice)}; rename them, or segment them into several folders"
        )


def _key(path: Path, config: SegmentConfig, model_hash: str) -> str:
    """Changes with the file, the model and every setting that changes the result."""
    settings = config.model_dump(mode="json", include={"contrast", "voxel_size", "origin", "precision", "instances"})
    text = json.dumps([fingerprint(path), model_hash, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_done(out: Path, name: str, key: str) -> bool:
    stem = out / name
    if not all(_output(stem, ending).is_file() for ending in ("_instances.mrc", "_particles.star", "_particles.csv")):
        return False
    try:
        return bool(json.loads(_output(stem, "_segment.json").read_text())["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _output(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _closing_line(out: Path, counts: dict[str, int], already: list[str]) -> str:
    kept = f"kept {sum(counts.values())} particles in {len(counts)} tomogram{'s' * (len(counts) != 1)}"
    empty = [name for name, count in counts.items() if not count]
    remarks = [f"none found in {', '.join(empty)}"] if empty else []
    if already:
        remarks.append(f"skipped {', '.join(already)}, done before with the same model and settings")
    return "; ".join([kept, *(remarks or ["skipped none"]), f"written to {out}"])
