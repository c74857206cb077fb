"""What a finished model says of itself, and whether a data set that is gone on with may keep it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.template import Split
from cryoembed.simulate.digest import check_files, settings_digest
from cryoembed.simulate.scene.truth import shortfall_of

logger = logging.getLogger(__name__)

RECORD = "model.json"


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write what a model says of itself."""
    with replacing(folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=1) + "\n")


def finished(folder: Path, config: DatasetConfig, index: int) -> dict[str, Any] | None:
    """The record of a model that is there and may stay, or None; what may not stay is an error, never overwritten.

    Raises
    ------
    InputError
        If the record is broken, other settings made the model, a file that decides on it is missing, or it lacks what
        was asked and ``allow_shortfall`` is off.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict) or "settings" not in record:
        raise InputError(f"{path} is broken: no record of a model; remove the folder, and the model is made again")
    if record["settings"] != settings_digest(config, index):
        check_files(config, index)
        raise InputError(f"{folder} was made with other settings; choose another --out or remove the folder")
    lacking = shortfall_of(record.get("missed") or {}, record.get("crowding", 1.0), config.crowding)
    if lacking is not None and not config.allow_shortfall:
        raise InputError(f"{folder}: {lacking} (or set allow_shortfall: true, which made it)")
    return record


def relabel(folder: Path, record: dict[str, Any], split: Split) -> None:
    """Move a model to another split: it holds the same, but the settings now ask for other numbers of models."""
    if record.get("split") == split:
        return
    logger.warning("%s was for %s; it is for %s now", folder.name, record.get("split"), split)
    write_record(folder, record | {"split": split})
