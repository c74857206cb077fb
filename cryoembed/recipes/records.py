"""What every output keeps of how it was made: the resolved config and the provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import cryoembed
from cryoembed.config import Config
from cryoembed.io.atomic import replacing
from cryoembed.store.manifest import fingerprint

LIBRARIES = ("numpy", "scipy", "torch", "faiss-gpu", "faiss-cpu", "scikit-learn", "bioimage-cpp", "mrcfile", "pandas")


def write_records(
    out: Path, config: Config, *, inputs: Iterable[Path] = (), models: Mapping[str, str] | None = None, **extra: Any
) -> None:
    """Write ``config.yaml`` (resolved) and ``provenance.json`` (versions, input fingerprints, model hashes).

    Nothing in them depends on the clock, so that equal runs leave equal files.
    """
    provenance = _provenance(inputs, models, extra)
    with replacing(out / "config.yaml") as temporary:
        temporary.write_text(config.to_yaml())
    with replacing(out / "provenance.json") as temporary:
        temporary.write_text(json.dumps(provenance, indent=1, sort_keys=True) + "\n")


def write_record(
    target: Path, config: Config, *, inputs: Iterable[Path] = (), models: Mapping[str, str] | None = None, **extra: Any
) -> None:
    """Write ``TARGET.json`` beside a single output file: what `write_records` keeps, in one file."""
    record = {"config": config.model_dump(mode="json"), **_provenance(inputs, models, extra)}
    with replacing(target.with_name(f"{target.name}.json")) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _provenance(inputs: Iterable[Path], models: Mapping[str, str] | None, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cryoembed": cryoembed.__version__,
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "inputs": {str(path): fingerprint(Path(path)) for path in inputs if Path(path).is_file()},
        "models": dict(models or {}),
        **extra,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
