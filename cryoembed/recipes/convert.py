"""``cryoembed convert PICKS OUT``: picks from any readable format to another."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre
from cryoembed.io import TomogramInfo, read_particles, read_tomograms_star, tomogram_info, write_particles

log = logging.getLogger(__name__)


class ConvertConfig(Config):
    """What to convert to what; ``tomogram`` is a name, or the file of the tomogram picked in (its header is read)."""

    picks: Path
    out: Path
    to: Literal["relion5", "relion4", "warp", "csv", "parquet", "coords"] | None = None  # else by the suffix of out
    tomograms_star: Path | None = None
    tomogram: str | None = None
    voxel_size: float | None = Field(None, gt=0, description="A per voxel of picks given in voxels")
    relion_centre: RelionCentre = "n/2"


def convert(config: ConvertConfig) -> str:
    """Read picks, write them in another format, and say how many went where.

    Raises
    ------
    InputError
        If there is nothing to convert, a format is unknown, or the output needs a size that is not given.
    """
    infos = read_tomograms_star(config.tomograms_star) if config.tomograms_star else {}
    name = config.tomogram
    if name is not None and Path(name).is_file():
        info = tomogram_info(name, voxel_size=config.voxel_size)
        infos, name = infos | {info.name: infos.get(info.name, info)}, info.name
    voxel_size = config.voxel_size
    if voxel_size is None and name in infos and config.picks.suffix != ".star":
        voxel_size = infos[name].pixel_size
    particles = read_particles(
        config.picks, tomogram=name, voxel_size=voxel_size, tomograms=infos, relion_centre=config.relion_centre
    )
    if len(particles) == 0:
        raise InputError(f"{config.picks} holds no particles; nothing was written")
    _report_defaults(infos)
    write_particles(config.out, particles, tomograms=infos, relion_centre=config.relion_centre, format=config.to)
    count, tomograms = len(particles), len(particles.tomograms)
    return (
        f"kept {count} particle{'s' * (count != 1)} in {tomograms} tomogram{'s' * (tomograms != 1)}, "
        f"skipped none; written to {config.out}"
    )


def _report_defaults(infos: dict[str, TomogramInfo]) -> None:
    for info in infos.values():
        if not info.star_name:
            log.info(
                "%s: optics taken as %g kV, Cs %g mm, amplitude contrast %g",
                *(info.name, info.voltage, info.cs, info.amplitude_contrast),
            )
