"""The table from suffix to reader and writer, and the two functions that use it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, RelionCentre, Triple
from cryoembed.io import relion_write, shrec
from cryoembed.io.cbox import read_cbox
from cryoembed.io.coords import read_coords, write_coords
from cryoembed.io.csv import read_csv, read_parquet, write_csv, write_parquet
from cryoembed.io.mrc import read_mrc_header
from cryoembed.io.mrc_header import isotropic_voxel_size
from cryoembed.io.relion_files import read_star_particles
from cryoembed.io.sniff import read_bytes, refuse_pickle, suffix_of, tomogram_name
from cryoembed.io.star import write_blocks
from cryoembed.io.tomogram_info import TomogramInfo, find_info, read_tomograms_star
from cryoembed.particles import Particles
from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)
_FORMAT_OF_SUFFIX = {".star": "relion5", ".csv": "csv", ".parquet": "parquet", ".coords": "coords"}
FORMATS = ("relion5", "relion4", "warp", "csv", "parquet", "coords")


@dataclass(frozen=True)
class _Context:
    """What a reader may need beside the file."""

    tomogram: str | None
    voxel_size: float | None
    origin: Triple
    infos: dict[str, TomogramInfo]
    relion_centre: RelionCentre

    def name_for(self, path: Path) -> str:
        """A format that names no tomogram: the one given, else the file's own name."""
        if self.tomogram is None:
            log.info("%s names no tomogram: taken as picks in %r", path.name, _stem(path))
        return self.tomogram or _stem(path)


def read_particles(
    path: Path | str,
    *,
    tomogram: str | Tomogram | None = None,
    voxel_size: float | None = None,
    tomograms_star: Path | str | None = None,
    tomograms: Mapping[str, TomogramInfo] | None = None,
    relion_centre: RelionCentre = "n/2",
) -> Particles:
    """Read picks of any known format: positions in A in the parent frame.

    Parameters
    ----------
    path
        ``.star`` (RELION 5, 4, 3.1, 3.0, Warp; an optimisation set is followed), ``.csv`` / ``.tsv`` / ``.txt``,
        ``.parquet``, ``.coords``, ``.cbox``, SHREC's ``particle_locations.txt`` or its folder; ``.gz`` of each.
    tomogram
        The tomogram picked in, or its name: for formats that name none, and for its voxel size and frame.
    voxel_size
        A per voxel (pixel) of formats in voxels; wins over what a STAR file says of itself. csv is in A regardless.
    tomograms_star, tomograms
        Sizes for RELION 5's centred coordinates.
    relion_centre
        ``"n/2"`` (RELION's C++) or ``"n/2-1"`` (its Python pickers).

    Raises
    ------
    InputError
        If the file is missing, of no known format, a pickle, or lacks something (said, with what to pass).
    """
    path = Path(path)
    if relion_centre not in get_args(RelionCentre):
        raise InputError(f"relion_centre {relion_centre!r}: expected 'n/2' or 'n/2-1'")
    infos = dict(tomograms or {})
    if tomograms_star is not None:
        infos |= read_tomograms_star(tomograms_star)
    name, origin = tomogram if isinstance(tomogram, str) else None, ORIGIN
    if isinstance(tomogram, Tomogram):
        name, origin = tomogram.name, tomogram.origin
        voxel_size = voxel_size if voxel_size is not None or suffix_of(path) == ".star" else tomogram.voxel_size
        infos.setdefault(tomogram.name, TomogramInfo.of(tomogram))
    elif name in infos:
        origin = infos[name].origin
    context = _Context(name, voxel_size, origin, infos, relion_centre)
    try:
        return _read(path, context)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None


def write_particles(
    path: Path | str,
    particles: Particles,
    *,
    tomograms: Mapping[str, TomogramInfo] | None = None,
    relion_centre: RelionCentre = "n/2",
    format: str | None = None,  # noqa: A002 (the word everybody looks for)
) -> None:
    """Write picks, atomically; nothing else is written beside them.

    Parameters
    ----------
    path
        ``.star`` (RELION 5 unless ``format`` says otherwise), ``.csv``, ``.parquet`` or ``.coords``.
    particles
        Positions in A in the parent frame.
    tomograms
        By name: needed for every tomogram by ``.star`` (size, pixel size, optics) and ``.coords`` (voxel size).
    relion_centre
        ``"n/2"`` (RELION's C++) or ``"n/2-1"`` (its Python pickers).
    format
        One of `FORMATS`; default: by suffix.

    Raises
    ------
    InputError
        If the format is unknown, a tomogram is not among ``tomograms``, or the folder cannot be written.
    """
    path = Path(path)
    chosen = output_format(path, format)
    if relion_centre not in get_args(RelionCentre):
        raise InputError(f"relion_centre {relion_centre!r}: expected 'n/2' or 'n/2-1'")
    infos = dict(tomograms or {})
    if chosen == "csv":
        write_csv(path, particles)
    elif chosen == "parquet":
        write_parquet(path, particles)
    elif chosen == "coords":
        _write_coords(path, particles, infos)
    else:
        write_blocks(path, _star_blocks(chosen, particles, infos, relion_centre))


def output_format(path: Path, format: str | None = None) -> str:  # noqa: A002
    """One of `FORMATS` for a target, by its suffix unless named; `InputError` if there is no writer for it."""
    chosen = format or _FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if chosen not in FORMATS:
        known = f"suffix {' '.join(_FORMAT_OF_SUFFIX)} or format {' '.join(FORMATS)}"
        raise InputError(
            f"cannot write {path.name} as {format or path.suffix or 'a file without suffix'!r}; expected {known}"
        )
    return chosen


def _read(path: Path, context: _Context) -> Particles:
    if path.is_dir() and shrec.is_model(path):
        path = path / shrec.LOCATIONS
    refuse_pickle(path, read_bytes(path, 16))
    suffix = suffix_of(path)
    name, size = context.tomogram, context.voxel_size
    if path.name == shrec.LOCATIONS:
        size = size if size is not None else _shrec_voxel_size(path.parent)
        return shrec.read_locations(path, tomogram=name or path.parent.name, voxel_size=size, origin=context.origin)
    if suffix == ".star":
        return read_star_particles(
            path,
            tomogram=name,
            voxel_size=size,
            infos=context.infos,
            relion_centre=context.relion_centre,
        )
    if suffix in (".csv", ".tsv", ".txt"):
        origins = {tomogram: info.origin for tomogram, info in context.infos.items()}
        return read_csv(path, tomogram=name, voxel_size=size, origins=origins)
    if suffix == ".parquet":
        return read_parquet(path, tomogram=name)
    if suffix in (".coords", ".cbox"):
        reader = read_coords if suffix == ".coords" else read_cbox
        return reader(path, tomogram=context.name_for(path), voxel_size=size, origin=context.origin)
    raise InputError(
        f"{path}: no reader for {suffix or 'a file without suffix'!r}; "
        "expected .star .csv .tsv .txt .parquet .coords .cbox or SHREC's particle_locations.txt"
    )


def _star_blocks(
    chosen: str, particles: Particles, infos: dict[str, TomogramInfo], relion_centre: RelionCentre
) -> dict[str, pd.DataFrame]:
    if chosen == "relion5":
        return relion_write.relion5_blocks(particles, infos, relion_centre)
    return (
        relion_write.relion4_blocks(particles, infos)
        if chosen == "relion4"
        else relion_write.warp_blocks(particles, infos)
    )


def _write_coords(path: Path, particles: Particles, infos: dict[str, TomogramInfo]) -> None:
    if len(particles.tomograms) != 1:  # none or several: the writer says what is wrong
        write_coords(path, particles, voxel_size=1.0)
        return
    info = find_info(infos, particles.tomograms[0], ".coords are in voxels, so its voxel size is needed")
    write_coords(path, particles, voxel_size=info.pixel_size, origin=info.origin)


def _shrec_voxel_size(folder: Path) -> float | None:
    volume = folder / "reconstruction.mrc"
    return isotropic_voxel_size(read_mrc_header(volume), volume) if volume.is_file() else None


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".gz", ".bz2", suffix_of(path)):
        name = name.removesuffix(suffix)
    return tomogram_name(name)
