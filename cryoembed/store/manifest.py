"""The store's table of contents: its key, its shards, the row counter; read strictly, replaced atomically."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.store.key import StoreKey
from cryoembed.tomogram import Tomogram

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

_BLOCK_BYTES, _BLOCKS = 1 << 20, 64


class TomogramSource(Config):
    """Where a shard's tomogram lies and how it was read, so that a later query reads it in the same way."""

    path: str = ""  # absolute; "" where the volume never was a file
    size_bytes: int = 0
    fingerprint: str = ""
    shape: tuple[int, int, int]  # zyx, of the file
    voxel_size: float  # A, of the file or as given by the user
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)  # A, zyx
    contrast: Literal["dark", "bright"] = "bright"
    contrast_reason: str = ""


class ShardEntry(Config):
    """One tomogram of the store."""

    tomogram: str
    folder: str
    n: int
    content_hash: str
    source: TomogramSource | None = None


class Manifest(Config):
    """The store's state; what is not listed here does not exist."""

    schema_version: Literal[1] = 1
    key: StoreKey
    weights: str = ""  # path of the weights file, or the name of bundled ones
    next_row_id: int = 0
    shards: tuple[ShardEntry, ...] = ()

    @property
    def content_hash(self) -> str:
        """16 hex digits of all that is searched: key, shards and row ids."""
        parts = [self.key.model_dump(mode="json"), [(entry.tomogram, entry.content_hash) for entry in self.shards]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def describe_source(
    tomogram: Tomogram, path: Path | None, *, contrast: Literal["dark", "bright"], contrast_reason: str = ""
) -> TomogramSource:
    """Record a tomogram as it was read from ``path`` (None: it never was a file) and the contrast that was decided."""
    return TomogramSource(
        path=str(Path(path).resolve()) if path else "",
        size_bytes=Path(path).stat().st_size if path else 0,
        fingerprint=fingerprint(path) if path else "",
        shape=tomogram.shape,
        voxel_size=float(tomogram.voxel_size),
        origin=tomogram.origin,
        contrast=contrast,
        contrast_reason=contrast_reason,
    )


def fingerprint(path: Path) -> str:
    """16 hex digits of a file's size and content; above 64 MiB of 64 blocks of 1 MiB, first and last included."""
    size = Path(path).stat().st_size
    starts = range(0, size, _BLOCK_BYTES)
    if len(starts) > _BLOCKS:
        last = size - _BLOCK_BYTES
        starts = [round(last * block / (_BLOCKS - 1)) for block in range(_BLOCKS)]  # type: ignore[assignment]
    digest = hashlib.sha256(str(size).encode())
    with Path(path).open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:16]


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest.

    Raises
    ------
    InputError
        If the folder is no store, the manifest is damaged, or it has another schema version.
    """
    path = Path(folder) / MANIFEST_NAME
    if not path.is_file():
        raise InputError(f"{folder} is no embedding store: it has no {MANIFEST_NAME}; make one with `cryoembed index`")
    try:
        values: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); index the tomograms into a new folder") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} has schema version {version}, this cryoembed reads {SCHEMA_VERSION}; index again")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is damaged ({where}: {first['msg']}); index the tomograms into a new folder"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest; the new state is on disk when this returns."""
    with replacing(Path(folder) / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")
        sync(temporary)
    sync(Path(folder))


def sync(path: Path) -> None:
    """Force a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
