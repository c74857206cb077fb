"""Which block of a STAR file holds the particles, and where an optimisation set leads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre
from cryoembed.io.relion_read import is_particle_table, particles_from_star
from cryoembed.io.star import read_blocks
from cryoembed.io.tomogram_info import TomogramInfo, read_tomograms_star
from cryoembed.particles import Particles

log = logging.getLogger(__name__)


def read_star_particles(
    path: Path,
    *,
    tomogram: str | None,
    voxel_size: float | None,
    infos: dict[str, TomogramInfo],
    relion_centre: RelionCentre,
) -> Particles:
    """Read the particle block of a STAR file, or of the file that an optimisation set names.

    The arguments are those of `relion_read.particles_from_star`; sizes in an optimisation set's tomograms file are used
    where ``infos`` has none.
    """
    blocks = read_blocks(path)
    links = next((table for table in blocks.values() if "rlnTomoParticlesFile" in table.columns), None)
    if links is not None:
        particles_path, tomograms_path = (
            _linked(path, str(links[column].iloc[0])) if column in links.columns else None
            for column in ("rlnTomoParticlesFile", "rlnTomoTomogramsFile")
        )
        if particles_path is None:
            raise InputError(f"{path}: its particles file {links['rlnTomoParticlesFile'].iloc[0]} is not found near it")
        if tomograms_path is None:
            log.warning("%s: the tomograms file it names is not found near it", path)
        else:
            infos = read_tomograms_star(tomograms_path) | infos
        path, blocks = particles_path, read_blocks(particles_path)
    return particles_from_star(
        _particle_block(blocks, path),
        blocks.get("optics"),
        path=path,
        tomogram=tomogram,
        voxel_size=voxel_size,
        infos=infos,
        relion_centre=relion_centre,
    )


def _particle_block(blocks: Mapping[str, pd.DataFrame], path: Path) -> pd.DataFrame:
    found = {name: table for name, table in blocks.items() if is_particle_table(table)}
    if "particles" in found:
        return found["particles"]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InputError(f"{path}: several blocks hold positions ({', '.join(found)}); keep one, named data_particles")
    flat = any("rlnCoordinateX" in table.columns for table in blocks.values())
    what = "particles of 2D micrographs (no rlnCoordinateZ)" if flat else f"blocks {', '.join(map(repr, blocks))}"
    raise InputError(
        f"{path} holds {what}; "
        "expected rlnCenteredCoordinateX/Y/ZAngst (RELION 5) or rlnCoordinateX/Y/Z (RELION 4, 3, Warp)"
    )


def _linked(path: Path, target: str) -> Path | None:
    """A file that an optimisation set names: relative to the project (any folder above), or beside it."""
    candidates = [folder / target for folder in path.resolve().parents] + [path.parent / Path(target).name]
    packed = [candidate.with_name(candidate.name + ".gz") for candidate in candidates]
    return next((candidate for candidate in (*candidates, *packed) if candidate.is_file()), None)
