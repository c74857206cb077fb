"""The EmbeddingStore on disk: vectors with their particles, one shard per tomogram, changed atomically, keyed by model.

Layout: ``manifest.json``, ``shards/<tomogram>-<hash>/{vectors.npy, particles.parquet}``. The manifest is the truth: a
shard is written and renamed first, the manifest replaced after, so a process killed at any point leaves the old or the
new state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.scratch import PREFIX
from cryoembed.particles import Particles, particle_ids
from cryoembed.store import shards
from cryoembed.store.key import StoreKey, check_same_key
from cryoembed.store.lock import LOCK_NAME, exclusive
from cryoembed.store.manifest import MANIFEST_NAME, Manifest, ShardEntry, TomogramSource, read_manifest, write_manifest

SHARDS = "shards"


class EmbeddingStore:
    """Vectors (n, d) and particles of a data set; use `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = Path(path)
        self._manifest = manifest

    # -- open ---------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, key: StoreKey, *, weights: str = "") -> EmbeddingStore:
        """Make an empty store in a new or empty folder.

        Parameters
        ----------
        path
            The folder.
        key
            What makes its vectors comparable; fixed for the life of the store.
        weights
            Path or bundled name of the weights, so that a later query finds them.
        """
        path = Path(path)
        if (path / MANIFEST_NAME).exists():
            raise InputError(f"{path} is a store already; add to it, or choose another --out")
        _refuse_foreign(path)
        try:
            (path / SHARDS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; choose another --out") from None
        with exclusive(path):
            if (path / MANIFEST_NAME).exists():  # another process was quicker
                return cls.open(path, key)
            manifest = Manifest(key=key, weights=weights)
            write_manifest(path, manifest)
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path, key: StoreKey | None = None) -> EmbeddingStore:
        """Open a store; with ``key``, refuse one whose vectors were made in another way, naming the difference."""
        manifest = read_manifest(Path(path))
        if key is not None:
            check_same_key(manifest.key, key, where=str(path))
        return cls(Path(path), manifest)

    @classmethod
    def open_or_create(cls, path: Path, key: StoreKey, *, weights: str = "") -> EmbeddingStore:
        """Continue a store made under the same key, or begin a new one: its folder appears with the first tomogram."""
        if (Path(path) / MANIFEST_NAME).exists():
            return cls.open(path, key)
        _refuse_foreign(Path(path))
        return cls(path, Manifest(key=key, weights=weights))

    # -- read ---------------------------------------------------------------------------------------------------------

    @property
    def key(self) -> StoreKey:
        """What makes the vectors comparable."""
        return self._manifest.key

    @property
    def weights(self) -> str:
        """Path or bundled name of the weights that made the vectors; "" if not noted."""
        return self._manifest.weights

    @property
    def content_hash(self) -> str:
        """16 hex digits of everything searchable; changes with every add, replace and remove."""
        return self._manifest.content_hash

    @property
    def tomograms(self) -> list[str]:
        """Names in order of addition."""
        return [entry.tomogram for entry in self._manifest.shards]

    def __len__(self) -> int:
        return sum(entry.n for entry in self._manifest.shards)

    def __contains__(self, tomogram: str) -> bool:
        return tomogram in self.tomograms

    def count(self, tomogram: str) -> int:
        """Number of particles of a tomogram."""
        return self._entry(tomogram).n

    def vectors(self, tomogram: str | None = None) -> npt.NDArray[np.float32]:
        """(n, d) float32: memory-mapped for one tomogram; for None one array of all, in the order of `tomograms`."""
        if tomogram is not None:
            return shards.read_vectors(self._folder(tomogram), self._entry(tomogram), self.key.dim)
        parts = [self.vectors(name) for name in self.tomograms]
        return np.concatenate(parts) if parts else np.zeros((0, self.key.dim), dtype=np.float32)

    def particles(self, tomogram: str | None = None) -> Particles:
        """Particles in the order of `vectors`, with the columns ``row_id`` (int64) and ``particle_id``."""
        if tomogram is not None:
            return shards.read_particles(self._folder(tomogram), self._entry(tomogram))
        return Particles.concatenate([self.particles(name) for name in self.tomograms])

    @property
    def row_ids(self) -> npt.NDArray[np.int64]:
        """(n,) row ids in the order of `vectors`; never used twice in the life of the store."""
        parts = [self.particles(name).table["row_id"].to_numpy(dtype=np.int64) for name in self.tomograms]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def source(self, tomogram: str) -> TomogramSource | None:
        """Where the tomogram lies and how it was read; None if not noted."""
        return self._entry(tomogram).source

    def record(self, tomogram: str) -> dict[str, Any]:
        """What the maker of the shard noted; empty if nothing."""
        return shards.read_record(self._folder(tomogram), self._entry(tomogram))

    def instances(self, tomogram: str) -> npt.NDArray[np.int32] | None:
        """The label volume (z, y, x) at the key's voxel size, or None if it was not kept."""
        return shards.read_instances(self._folder(tomogram), self._entry(tomogram))

    def damaged(self) -> list[str]:
        """Names of tomograms whose files no longer match their content hash; reads every byte."""
        return [entry.tomogram for entry in self._manifest.shards if not self._intact(entry)]

    def to_anndata(self) -> Any:
        """An AnnData: X = vectors, obs = particles, obsm["spatial"] = positions zyx in A, uns["cryoembed"] = the key.

        Raises
        ------
        InputError
            If anndata is not installed.
        """
        try:
            import anndata
        except ImportError:
            raise InputError('AnnData needs the package anndata: pip install "cryoembed[scverse]"') from None
        particles = self.particles()
        obs = particles.table.copy()
        obs.index = obs["particle_id"].astype(str) if "particle_id" in obs.columns else obs.index.astype(str)
        obs.index.name = None
        key = {"cryoembed": self.key.model_dump(mode="json")}
        return anndata.AnnData(X=self.vectors(), obs=obs, obsm={"spatial": particles.positions_zyx}, uns=key)

    # -- change -------------------------------------------------------------------------------------------------------

    def add(
        self,
        tomogram: str,
        vectors: npt.ArrayLike,
        particles: Particles,
        *,
        source: TomogramSource | None = None,
        record: Mapping[str, Any] | None = None,
        instances: npt.NDArray[np.int32] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Add a tomogram that the store does not hold yet.

        Parameters
        ----------
        tomogram
            Its name; every particle must carry it.
        vectors
            (n, d) float32, L2-normalised, row i belongs to particle i.
        particles
            n particles, positions in A in the parent frame.
        source
            Where the volume lies and how it was read (`describe_source`), so that a query can cut boxes from it.
        record
            Anything JSON can hold, kept with the shard.
        instances
            int32 label volume at the key's voxel size; kept (compressed) where boxes are masked by instances.

        Returns
        -------
        (n,) int64 row ids.

        Raises
        ------
        InputError
            If the tomogram is there already, the vectors are not what the key says, or the disk cannot be written.
        """
        return self._put(tomogram, vectors, particles, source, record, instances, replace=False)

    def replace(
        self,
        tomogram: str,
        vectors: npt.ArrayLike,
        particles: Particles,
        *,
        source: TomogramSource | None = None,
        record: Mapping[str, Any] | None = None,
        instances: npt.NDArray[np.int32] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Like `add`, in place of what the store holds of this tomogram, if anything; rows get new ids."""
        return self._put(tomogram, vectors, particles, source, record, instances, replace=True)

    def remove(self, tomogram: str) -> None:
        """Forget a tomogram; its row ids are never given again."""
        with self._changing():
            entry = self._entry(tomogram)
            self._commit(shards=tuple(other for other in self._manifest.shards if other != entry))

    # -- private ------------------------------------------------------------------------------------------------------

    def _put(
        self,
        tomogram: str,
        vectors: npt.ArrayLike,
        particles: Particles,
        source: TomogramSource | None,
        record: Mapping[str, Any] | None,
        instances: npt.NDArray[np.int32] | None,
        *,
        replace: bool,
    ) -> npt.NDArray[np.int64]:
        array = shards.check_vectors(vectors, n=len(particles), dim=self.key.dim)
        strangers = [name for name in particles.tomograms if name != tomogram]
        if not tomogram or strangers:
            raise InputError(
                f"particles of {strangers or 'an unnamed tomogram'} cannot be stored as tomogram {tomogram!r}"
            )
        with self._changing():
            if tomogram in self and not replace:
                raise InputError(f"tomogram {tomogram!r} is in the store already; replace it, or give it another name")
            first = self._manifest.next_row_id
            row_ids = np.arange(first, first + len(particles), dtype=np.int64)
            ids = particle_ids(tomogram, particles.positions_zyx, self.key.model_hash)
            table = particles.with_columns(row_id=row_ids, particle_id=ids).table
            folder, digest = shards.write_shard(
                self.path / SHARDS, array, table, tomogram=tomogram, record=record, instances=instances
            )
            entry = ShardEntry(tomogram=tomogram, folder=folder, n=len(particles), content_hash=digest, source=source)
            entries = list(self._manifest.shards)
            if tomogram in self:
                entries[self.tomograms.index(tomogram)] = entry
            else:
                entries.append(entry)
            self._commit(shards=tuple(entries), next_row_id=first + len(particles))
        return row_ids

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, see what others wrote meanwhile, sweep what killed processes left."""
        if not self._manifest.shards and not (self.path / MANIFEST_NAME).exists():
            self.create(self.path, self.key, weights=self.weights)
        with exclusive(self.path):
            current = read_manifest(self.path)
            check_same_key(current.key, self.key, where=str(self.path))
            self._manifest = current
            (self.path / SHARDS).mkdir(exist_ok=True)
            shards.remove_unlisted(self.path / SHARDS, (entry.folder for entry in current.shards))
            yield
            shards.remove_unlisted(self.path / SHARDS, (entry.folder for entry in self._manifest.shards))

    def _commit(self, **changes: Any) -> None:
        manifest = self._manifest.model_copy(update=changes)
        write_manifest(self.path, manifest)
        self._manifest = manifest

    def _entry(self, tomogram: str) -> ShardEntry:
        for entry in self._manifest.shards:
            if entry.tomogram == tomogram:
                return entry
        raise InputError(f"tomogram {tomogram!r} is not in the store {self.path}; it holds {', '.join(self.tomograms)}")

    def _folder(self, tomogram: str) -> Path:
        return self.path / SHARDS / self._entry(tomogram).folder

    def _intact(self, entry: ShardEntry) -> bool:
        try:
            return shards.content_hash(self.path / SHARDS / entry.folder) == entry.content_hash
        except (OSError, ValueError):
            return False


def _refuse_foreign(path: Path) -> None:
    """Raise unless a folder is missing, or holds only what the making of a store may have left there."""
    if not path.exists():
        return
    if not path.is_dir() or not all(
        item.name in (SHARDS, LOCK_NAME) or ".tmp." in item.name or item.name.startswith(PREFIX)
        for item in path.iterdir()
    ):
        raise InputError(f"{path} exists and is no embedding store; choose another --out")
