"""``cryoembed convert PICKS OUT``: picks from any readable format to another."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre, Triple
from cryoembed.io import TomogramInfo, read_particles, read_tomogram_info, read_tomograms_star, write_particles
from cryoembed.io.sniff import suffix_of
from cryoembed.recipes.sources import tomogram_infos
from cryoembed.store import EmbeddingStore

log = logging.getLogger(__name__)


class ConvertConfig(Config):
    """What to convert to what; ``tomogram`` is a name, or the file of the tomogram picked in (its header is read)."""

    picks: Path
    out: Path
    to: Literal["relion5", "relion4", "warp", "csv", "parquet", "coords"] | None = None  # else by the suffix of out
    tomograms_star: Path | None = None
    store: Path | None = Field(None, description="an embedding store: it knows the frames of its tomograms")
    tomogram: str | None = None
    origin: Triple | None = Field(None, description="A, zyx; where voxel 0 of the tomogram's file lies in its frame")
    voxel_size: float | None = Field(None, gt=0, description="A per voxel of picks given in voxels")
    relion_centre: RelionCentre = "n/2"


def convert(config: ConvertConfig) -> str:
    """Read picks, write them in another format, and say how many went where.

    Raises
    ------
    InputError
        If there is nothing to convert, a format is unknown, or the output needs a size that is not given.
    """
    stored = tomogram_infos(EmbeddingStore.open(config.store)) if config.store else {}
    infos = stored | (read_tomograms_star(config.tomograms_star) if config.tomograms_star else {})
    header = _header_of(config)
    if header is not None:
        infos.setdefault(header.name, header)
    in_voxels = suffix_of(config.picks) != ".star"  # a STAR file says itself what its pixels are
    particles = read_particles(
        config.picks,
        tomogram=header.name if header else config.tomogram,
        voxel_size=header.pixel_size if header and in_voxels else config.voxel_size,
        tomograms=infos,
        relion_centre=config.relion_centre,
    )
    if len(particles) == 0:
        raise InputError(f"{config.picks} holds no particles; nothing was written")
    if (config.to or config.out.suffix.lower().lstrip(".")) == "coords":
        infos = stored or _in_voxels_of(particles.tomograms, header, config)
    if config.to in ("relion5", "relion4") or (config.to is None and config.out.suffix == ".star"):
        _report_defaults(infos)
    write_particles(config.out, particles, tomograms=infos, relion_centre=config.relion_centre, format=config.to)
    count, tomograms = len(particles), len(particles.tomograms)
    return (
        f"kept {count} particle{'s' * (count != 1)} in {tomograms} tomogram{'s' * (tomograms != 1)}, "
        f"skipped none; written to {config.out}"
    )


def _header_of(config: ConvertConfig) -> TomogramInfo | None:
    if config.tomogram is None or not Path(config.tomogram).is_file():
        return None
    info = read_tomogram_info(config.tomogram, voxel_size=config.voxel_size)
    return info.model_copy(update={"origin": config.origin}) if config.origin is not None else info


def _in_voxels_of(names: list[str], header: TomogramInfo | None, config: ConvertConfig) -> dict[str, TomogramInfo]:
    """Voxels of the tomogram that was picked in: tomograms.star knows unbinned pixels only, so it is not asked."""
    size = header.pixel_size if header else config.voxel_size
    if size is None:
        raise InputError(".coords are in voxels of a tomogram; pass --voxel-size, or --tomogram with its file")
    return {name: TomogramInfo(name=name, size_zyx_px=(1, 1, 1), pixel_size=size) for name in names}


def _report_defaults(infos: dict[str, TomogramInfo]) -> None:
    for info in infos.values():
        if not info.star_name:
            log.info(
                "%s: optics taken as %g kV, Cs %g mm, amplitude contrast %g",
                *(info.name, info.voltage, info.cs, info.amplitude_contrast),
            )
