"""The cache folder: templates that were made before, by the content of everything that decides them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.simulate.density.template import Template

logger = logging.getLogger(__name__)

SCHEMA = 2  # raise it when the same file and settings give another density
FOLDER = "CRYOEMBED_CACHE"
_LARGEST = 2e9  # bytes of templates; the least recently used go first


def cache_folder() -> Path:
    """Where downloads and templates are kept: ``$CRYOEMBED_CACHE``, or the platform's cache folder."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/cryoembed"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "cryoembed"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cryoembed"


def cached_template(path: Path, settings: dict[str, Any], make: Callable[[], Template]) -> Template:
    """The template that ``make`` gives, from the cache if it was made before.

    Parameters
    ----------
    path
        The structure's file; its content is part of the key, its name isn't.
    settings
        Everything else that decides the density (JSON values).

    A damaged entry is made anew; a cache that can't be written to is done without.
    """
    entry = cache_folder() / "templates" / f"{_key(path, settings)}.safetensors"
    try:
        if entry.is_file():
            found = _load(entry)
            os.utime(entry)
            return found
    except (SafetensorError, InputError, KeyError, ValueError, TypeError, OSError) as error:
        logger.warning("cached template %s is damaged (%s); made anew", entry, error)
    made = make()
    try:
        with replacing(entry) as temporary:
            save_file({"density": np.ascontiguousarray(made.density)}, temporary, metadata=_describe(made))
        _prune(entry.parent)
    except (InputError, OSError) as error:
        logger.warning("templates are not cached: %s (set %s to a folder that can be written to)", error, FOLDER)
    return made


def _key(path: Path, settings: dict[str, Any]) -> str:
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps({"schema": SCHEMA, "content": content, "suffixes": path.suffixes, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _describe(template: Template) -> dict[str, str]:
    fields = ("name", "voxel_size", "mass_kda", "symmetry", "split", "origin_offset_zyx", "membrane", "volts_per_unit")
    return {"template": json.dumps({field: getattr(template, field) for field in fields})}


def _load(entry: Path) -> Template:
    with safe_open(entry, framework="numpy") as file:
        density = file.get_tensor("density")
        fields = json.loads(file.metadata()["template"])
    if density.dtype != np.float32 or not np.isfinite(density).all():
        raise ValueError("its density is no float32 volume")
    fields["origin_offset_zyx"] = tuple(fields["origin_offset_zyx"])
    return Template(density=density, **fields)


def _prune(folder: Path) -> None:
    """Keep the cache below its bound: what was used longest ago goes."""
    entries = sorted(((path, path.stat()) for path in folder.glob("*.safetensors")), key=lambda item: -item[1].st_mtime)
    total = 0
    for path, stat in entries:
        total += stat.st_size
        if total > _LARGEST:
            path.unlink(missing_ok=True)
