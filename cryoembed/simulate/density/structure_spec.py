"""Species from files and PDB ids: which file is meant, and what the user and the library say of it."""

from __future__ import annotations

import glob
import logging
import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.library import POINT_GROUP, known
from cryoembed.simulate.density.maps import Component, Contrast
from cryoembed.simulate.density.rcsb import check_pdb_id, fetch_pdb
from cryoembed.simulate.density.template import Split

logger = logging.getLogger(__name__)

ATOMIC_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
_COMPRESSED = (".gz", ".bz2")


class StructureSpec(Config):
    """A structure file, a glob of several, or a PDB id, and what the file doesn't say.

    Atomic models are weighed by their atoms; for maps ``mass_kda`` is required: the mass of *what the map holds*, which
    may be half of the complex. What isn't given of a known species (`library.known`) comes from there: the split, and
    for PDB ids symmetry and assembly, too.
    """

    path: Path | None = None
    pdb: str | None = None  # PDB id, downloaded once (rcsb.fetch_pdb)
    name: str | None = None  # the label of its particles; the file's stem or the id
    mass_kda: float | None = Field(default=None, gt=0)
    symmetry: str = "C1"  # point group; for T, O and I an assembly of 12, 24, 60 copies is taken where the file has one
    split: Split = "train"
    assembly: str | None = None  # a biological assembly of the file ("1"); None: the atoms as they are in the file
    membrane: bool = False  # sits in a membrane through the box centre (map) or the origin (atoms), of normal z
    component: Component | None = None  # of maps with several bodies: "largest" or "all"
    contrast: Contrast = "bright"  # of maps
    map_voxel_size: float | None = Field(default=None, gt=0)  # A, of maps whose header lacks it
    b_factors: bool = False  # blur every atom by its B-factor

    @field_validator("pdb", mode="before")
    @classmethod
    def _is_id(cls, value: object) -> object:
        return value if value is None else check_pdb_id(str(value))

    @field_validator("symmetry")
    @classmethod
    def _is_group(cls, value: str) -> str:
        if not re.fullmatch(POINT_GROUP, value):
            raise ValueError(f"symmetry {value!r}: expected a point group: C1..C99, D2..D99, T, O or I")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> StructureSpec:
        if (self.path is None) == (self.pdb is None):
            raise ValueError("give either path (a file) or pdb (an id)")
        return self

    @property
    def file(self) -> Path:
        """The file of an expanded spec."""
        if self.path is None:
            raise InputError(f"structure pdb {self.pdb} is not downloaded; expand the spec first")
        return self.path


def expand(spec: StructureSpec, folder: Path = Path()) -> list[StructureSpec]:
    """Specs with one existing file each, names filled in; relative paths start at ``folder``, globs are sorted.

    A PDB id is downloaded here, unless it is in the cache.

    Raises
    ------
    InputError
        If nothing matches, one name or mass is given for several files, or a download fails.
    """
    if spec.pdb is not None:
        return [_filled(spec, fetch_pdb(spec.pdb) if spec.path is None else spec.path)]
    paths = sorted(Path(found) for found in glob.glob(str(folder / spec.file)))
    if not paths:
        raise InputError(f"structure {folder / spec.file}: no such file; mend the path or set structure_folder")
    if len(paths) > 1 and (spec.name is not None or spec.mass_kda is not None):
        raise InputError(f"structure {spec.path} matches {len(paths)} files, but name or mass_kda is for one")
    return [_filled(spec, path) for path in paths]


def split_of(spec: StructureSpec, path: Path | None = None) -> Split:
    """The split of a spec: as the user says, else as the library knows the species, else train."""
    species = known(spec.pdb or stem_of(path or spec.file))
    if species is None:
        return spec.split
    if "split" not in spec.model_fields_set:
        return species.split
    if spec.split == "train" != species.split:
        logger.warning("structure %s is known as %s species, but is set to train", species.pdb, species.split)
    return spec.split


def _filled(spec: StructureSpec, path: Path) -> StructureSpec:
    """The spec of one file, with what the library knows and the user left open."""
    update: dict[str, object] = {"path": path, "name": spec.name or spec.pdb or stem_of(path)}
    update["split"] = split_of(spec, path)
    species = known(spec.pdb or stem_of(path))
    if species is not None and spec.pdb is not None:
        fields = ("symmetry", "assembly")
        update |= {field: getattr(species, field) for field in fields if field not in spec.model_fields_set}
    return spec.model_copy(update=update)


def suffix_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED]
    return suffixes[-1] if suffixes else ""


def stem_of(path: Path) -> str:
    name = path.name
    while (suffix := Path(name).suffix.lower()) in (*_COMPRESSED, *ATOMIC_SUFFIXES, *MAP_SUFFIXES):
        name = name[: -len(suffix)]
    return name
