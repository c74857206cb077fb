"""What decides on a model's content, in 16 digits: models that other settings made are never mixed with these."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.simulate.dataset import IMAGING_FILES, DatasetConfig, imaging_files, imaging_of
from cryoembed.simulate.density.structure_spec import StructureSpec, expand

SCHEMA = 4  # of the simulation: raised where the same settings make other models
_CHUNK = 1 << 22  # bytes
_PLAN = ("tilts_deg", "tilt_max_deg", "tilt_step_deg")  # of the tilts, said in one way or another


def settings_digest(config: DatasetConfig, index: int = 0) -> str:
    """16 hex digits of everything that decides what a model holds (not of how many there are, or where they go).

    They are the same for all models, unless each has files of its own (``{model}`` in a path of the imaging).
    """
    fields = set(DatasetConfig.model_fields) - {"models", "validation", "test", "allow_shortfall"}
    if config.separate_species:
        fields |= {"models", "validation", "test"}
    settings = config.model_dump(mode="json", include=fields - {"structure_folder", "structures"})
    species = [(_content(one.path), one.model_dump(mode="json", exclude={"path"})) for one in _files(config)]
    imaging = imaging_of(config, index)
    # what a file holds counts, not where it lies; and the tilts, not how they were asked for
    settings["imaging"] = imaging.model_dump(mode="json", exclude={*IMAGING_FILES, *_PLAN})
    settings["tilts"] = None if imaging.tilt_file is not None else (imaging.planned_tilts_deg() + 0.0).tolist()
    files = {name: _content(path) for name in IMAGING_FILES if (path := getattr(imaging, name)) is not None}
    text = json.dumps({"schema": SCHEMA, **settings, "structures": species, "files": files}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_files(config: DatasetConfig, index: int = 0) -> None:
    """Raise `InputError` for the first file of the settings that is not there."""
    for path in imaging_files(config, index):
        if not path.is_file():
            raise InputError(f"imaging: {path} does not exist; put it there, or take the setting out")
    for spec in config.structures:
        for one in expand(spec, config.structure_folder):
            if one.path is not None and not one.path.is_file():
                raise InputError(f"structure {one.path} does not exist; put it there, or take it out")


def _files(config: DatasetConfig) -> list[StructureSpec]:
    found: list[StructureSpec] = []
    for spec in config.structures:
        try:
            found += expand(spec, config.structure_folder)
        except InputError:  # whoever needs the file says so
            found.append(spec)
    return found


def _content(path: Path | None) -> str:
    """What a structure's file holds, wherever it lies: an edited file makes other models."""
    if path is None:  # a PDB id that couldn't be downloaded
        return ""
    if not path.is_file():
        return path.name
    state = path.stat()
    return _hashed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _hashed(path: Path, modified_ns: int, size: int) -> str:
    """Of a file as it was at that time: digests are asked for model by model, and tilt series are large."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:16]
