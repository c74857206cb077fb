"""The tomograms behind a store: their frames, for picks and STAR files, and the volumes, checked to be the same."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre, angstrom_to_voxel, nearest_voxel
from cryoembed.io.formats import read_particles
from cryoembed.io.mrc import read_tomogram
from cryoembed.io.sniff import suffix_of, tomogram_name
from cryoembed.io.tomogram_info import TomogramInfo, read_tomograms_star
from cryoembed.particles import Particles
from cryoembed.store import EmbeddingStore, TomogramSource
from cryoembed.store.manifest import fingerprint
from cryoembed.tomogram import Tomogram


def tomogram_infos(store: EmbeddingStore, tomograms_star: Path | None = None) -> dict[str, TomogramInfo]:
    """Sizes, voxel sizes and origins by name: from RELION's ``tomograms.star`` where it knows them, else the store."""
    infos = {}
    for name in store.tomograms:
        source = store.source(name)
        if source is not None:
            infos[name] = TomogramInfo(
                name=name, size_zyx_px=source.shape, pixel_size=source.voxel_size, origin=source.origin
            )
    return infos | (read_tomograms_star(tomograms_star) if tomograms_star else {})


def read_picks(
    path: Path,
    store: EmbeddingStore,
    infos: Mapping[str, TomogramInfo],
    *,
    what: str,
    tomogram: str | None = None,
    voxel_size: float | None = None,
    relion_centre: RelionCentre = "n/2",
) -> Particles:
    """Read picks that lie in a store's tomograms.

    Parameters
    ----------
    what
        How to call them in messages: "examples", "negatives".
    tomogram
        For formats that name none; a store of one tomogram needs no telling.
    voxel_size
        A, for formats in voxels; by default that of the store's tomograms, if they agree.

    Raises
    ------
    InputError
        If there are none, a tomogram is not in the store, or a position lies outside its volume.
    """
    if tomogram is None and len(store.tomograms) == 1:
        tomogram = store.tomograms[0]
    sizes = {source.voxel_size for name in store.tomograms if (source := store.source(name)) is not None}
    if voxel_size is None and len(sizes) == 1 and suffix_of(path) != ".star":
        voxel_size = sizes.pop()  # STAR files know their own pixel size, which often is another
    # only STAR files speak of RELION's tomograms; voxels are those of the volumes that were indexed
    frames = infos if suffix_of(path) == ".star" else tomogram_infos(store)
    picks = read_particles(
        path, tomogram=tomogram, voxel_size=voxel_size, tomograms=frames, relion_centre=relion_centre
    )
    if len(picks) == 0:
        raise InputError(f"{path} holds no picks; {what} need at least one")
    for name in picks.tomograms:
        if name not in store:
            near = difflib.get_close_matches(name, store.tomograms, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"{path}: tomogram {name!r} is not in the store; {hint}It holds {_listed(store.tomograms)}. "
                "Picks that name no tomogram take --set tomogram=NAME"
            )
        _refuse_outside(path, picks, name, store.source(name))
    return picks


def open_source(store: EmbeddingStore, name: str, elsewhere: Iterable[Path] = ()) -> Tomogram:
    """The volume a store's tomogram was made from.

    Parameters
    ----------
    elsewhere
        Files to look at first, for volumes that have moved; found by their name.

    Raises
    ------
    InputError
        If the file is gone, or is no longer the file that was indexed.
    """
    source = store.source(name)
    if source is None:
        raise InputError(f"the store does not say how tomogram {name!r} was read; index it again")
    path = _moved(name, source, elsewhere) or Path(source.path)
    if not source.path and path == Path():
        raise InputError(f"the store does not say where tomogram {name!r} lies; pass --set tomograms=[FILE]")
    if not path.is_file():
        raise InputError(f"tomogram {name!r} was indexed from {path}, which is gone; pass --set tomograms=[FILE]")
    if source.fingerprint and fingerprint(path) != source.fingerprint:
        raise InputError(
            f"{path} is no longer the file that was indexed as {name!r}; index it again with --replace, "
            "or pass the original with --set tomograms=[FILE]"
        )
    return read_tomogram(path, voxel_size=source.voxel_size, name=name, origin=source.origin)


def _moved(name: str, source: TomogramSource, elsewhere: Iterable[Path]) -> Path | None:
    """The file that has the tomogram's name, or else its very content (indexed under another name)."""
    others = [Path(other) for other in elsewhere]
    same_size = (other for other in others if other.is_file() and other.stat().st_size == source.size_bytes)
    same = (other for other in same_size if source.fingerprint and fingerprint(other) == source.fingerprint)
    return next((other for other in others if tomogram_name(other) == name), None) or next(same, None)


def _refuse_outside(path: Path, picks: Particles, name: str, source: TomogramSource | None) -> None:
    if source is None:
        return
    rows = np.flatnonzero((picks.table["tomogram"] == name).to_numpy())
    nearest = nearest_voxel(angstrom_to_voxel(picks.positions_zyx[rows], source.voxel_size, source.origin))
    outside = rows[((nearest < 0) | (nearest >= source.shape)).any(axis=1)]
    if len(outside) == 0:
        return
    first = ", ".join(f"{value:.0f}" for value in picks.positions_zyx[outside[0]])
    ends = [start + (size - 1) * source.voxel_size for start, size in zip(source.origin, source.shape, strict=True)]
    reach = ", ".join(f"{start:.0f}..{end:.0f}" for start, end in zip(source.origin, ends, strict=True))
    raise InputError(
        f"{path}: {len(outside)} of {len(rows)} picks lie outside {name!r}: rows {_listed(outside + 1)}; the first at "
        f"z, y, x = {first} A, while the volume spans {reach} A. Are picks and tomogram in one frame (voxel size, "
        "origin)?"
    )


def _listed(values: Iterable[object], most: int = 8) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
