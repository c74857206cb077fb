"""What all verbs share that run a network over tomograms: settings, names, and whether an output is still current."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.preprocess.config import Contrast
from cryoembed.store.manifest import fingerprint


class VolumesConfig(Config):
    """Which tomograms, how they are read, where they are computed."""

    tomograms: tuple[Path, ...] = Field(min_length=1)
    out: Path
    contrast: Contrast = "auto"
    voxel_size: float | None = Field(None, gt=0, description="A; overrides the header")
    origin: Triple = Field(ORIGIN, description="A, zyx; where voxel 0 of every tomogram lies in its parent frame")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tile_memory_gb: float | None = Field(
        None, gt=0, description="working memory of the networks; None: a share of what is free"
    )


def refuse_equal_names(names: Sequence[str], remedy: str) -> None:
    """Raise `InputError` with a remedy if two tomograms have one name: one's output would replace the other's."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"several tomograms are called {', '.join(twice)}; {remedy}")


def output_key(path: Path, model_hash: str, config: VolumesConfig, *further: str) -> str:
    """16 hex digits that change with the file, the model and every setting that changes the result."""
    include = {"contrast", "voxel_size", "origin", "precision", *further}
    settings = config.model_dump(mode="json", include=include)
    return hashlib.sha256(json.dumps([fingerprint(path), model_hash, settings], sort_keys=True).encode()).hexdigest()[
        :16
    ]


def is_current(record: Path, key: str, outputs: Sequence[Path]) -> bool:
    """Whether all outputs are there and the record that vouches for them carries this key."""
    if not all(path.is_file() for path in outputs):
        return False
    try:
        found: Any = json.loads(record.read_text())
        return bool(found["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False
