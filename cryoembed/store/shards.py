"""One tomogram's part of a store: a folder with vectors.npy, particles.parquet; on wish record.json, instances.npz."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing_folder
from cryoembed.particles import Particles
from cryoembed.store.manifest import ShardEntry, sync

VECTORS, PARTICLES, RECORD, INSTANCES = "vectors.npy", "particles.parquet", "record.json", "instances.npz"

NORM_TOLERANCE = 1e-3  # half-precision networks normalise to about 5e-4


def check_vectors(vectors: npt.ArrayLike, *, n: int, dim: int) -> npt.NDArray[np.float32]:
    """(n, dim) float32, finite, each of length 1; an `InputError` says which row is not."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.shape != (n, dim):
        raise InputError(f"expected vectors of shape ({n}, {dim}), one per particle, got {array.shape}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise InputError(
            f"vector {int(np.argmin(finite))} holds NaN or infinity; check the input volume and the weights"
        )
    norms = np.linalg.norm(array, axis=1)
    wrong = np.abs(norms - 1) > NORM_TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"vector {row} has length {norms[row]:.4f}, expected 1; normalise vectors before storing them")
    return array


def folder_name(tomogram: str, content_hash: str) -> str:
    """A name that every file system takes, unique by content (row ids included)."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', tomogram).lstrip('.')[:80] or 'tomogram'}-{content_hash}"


def write_shard(
    parent: Path,
    vectors: npt.NDArray[np.float32],
    table: pd.DataFrame,
    *,
    tomogram: str,
    record: Mapping[str, Any] | None = None,
    instances: npt.NDArray[np.int32] | None = None,
) -> tuple[str, str]:
    """Write a shard beside its place, force it to disk, rename it; return (folder name, content hash).

    The content hash is that of the bytes of vectors and particles, row ids included: one hash, one shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(arrow, sink, compression="zstd")
    parquet = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes() + parquet).hexdigest()[:16]
    name = folder_name(tomogram, digest)
    with replacing_folder(parent / name) as temporary:
        np.save(temporary / VECTORS, vectors, allow_pickle=False)
        (temporary / PARTICLES).write_bytes(parquet)
        if record is not None:
            (temporary / RECORD).write_text(json.dumps(dict(record), indent=1, sort_keys=True) + "\n")
        if instances is not None:
            np.savez_compressed(temporary / INSTANCES, instances=np.asarray(instances, dtype=np.int32))
        for file in sorted(temporary.iterdir()):
            sync(file)
        sync(temporary)
    sync(parent)
    return name, digest


def read_vectors(folder: Path, entry: ShardEntry, dim: int) -> npt.NDArray[np.float32]:
    """(n, dim) float32, memory-mapped and read-only."""
    path = folder / VECTORS
    try:
        vectors: npt.NDArray[np.float32] = np.load(path, mmap_mode="r" if entry.n else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, entry, error) from None
    if vectors.shape != (entry.n, dim) or vectors.dtype != np.float32:
        raise _damaged(path, entry, f"{vectors.dtype} {vectors.shape}, expected float32 {(entry.n, dim)}")
    return vectors


def read_particles(folder: Path, entry: ShardEntry) -> Particles:
    """The shard's particles with the columns ``row_id`` and ``particle_id``."""
    import pyarrow as pa

    path = folder / PARTICLES
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, entry, error) from None
    if len(table) != entry.n or "row_id" not in table.columns:
        raise _damaged(path, entry, f"{len(table)} rows, expected {entry.n} with row ids")
    return Particles(table)


def read_record(folder: Path, entry: ShardEntry) -> dict[str, Any]:
    """What the maker of the shard noted; empty if nothing."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise _damaged(path, entry, error) from None
    return loaded


def read_instances(folder: Path, entry: ShardEntry) -> npt.NDArray[np.int32] | None:
    """The int32 label volume (z, y, x) at the key's voxel size, or None if it was not kept."""
    path = folder / INSTANCES
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            instances: npt.NDArray[np.int32] = archive["instances"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise _damaged(path, entry, error) from None
    return instances


def content_hash(folder: Path) -> str:
    """The content hash of what lies on disk."""
    vectors = np.load(folder / VECTORS, allow_pickle=False)
    return hashlib.sha256(vectors.tobytes() + (folder / PARTICLES).read_bytes()).hexdigest()[:16]


def remove_unlisted(parent: Path, listed: Iterable[str]) -> None:
    """Delete what no manifest names: shards replaced or removed, and halves that a killed process left."""
    keep = set(listed)
    for path in parent.iterdir():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _damaged(path: Path, entry: ShardEntry, why: object) -> InputError:
    return InputError(f"{path} is damaged or was replaced while being read ({why}); index {entry.tomogram!r} again")
