"""What picks need to know of a tomogram without opening it: size, pixel size, optics; RELION's tomograms.star."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.mrc import read_mrc_header
from cryoembed.io.mrc_header import isotropic_voxel_size
from cryoembed.io.sniff import suffix_of, tomogram_name
from cryoembed.io.star import read_blocks
from cryoembed.tomogram import Tomogram

_SIZE = ("rlnTomoSizeZ", "rlnTomoSizeY", "rlnTomoSizeX")
_OPTICS = {
    "voltage": "rlnVoltage",
    "cs": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
}


class TomogramInfo(Config):
    """A tomogram as RELION knows it.

    ``size_zyx_px`` and ``pixel_size`` (A) are those of the *unbinned* tilt series where known; the centre in A, which
    is all that RELION 5's coordinates need, is the same for a binned size with its own voxel size. ``origin`` (A, zyx)
    is where this tomogram's corner voxel lies in the parent frame; ``star_name`` is how ``tomograms.star`` spells the
    name.
    """

    name: str
    size_zyx_px: tuple[int, int, int]
    pixel_size: float = Field(gt=0, description="A")
    voltage: float = Field(300.0, description="kV")
    cs: float = Field(2.7, description="spherical aberration, mm")
    amplitude_contrast: float = 0.1
    origin: Triple = ORIGIN
    star_name: str = ""

    @classmethod
    def of(cls, tomogram: Tomogram, **optics: float) -> TomogramInfo:
        """Take size, voxel size and origin from a tomogram; ``voltage``, ``cs``, ``amplitude_contrast`` by keyword."""
        return cls(
            name=tomogram.name,
            size_zyx_px=tomogram.shape,
            pixel_size=tomogram.voxel_size,
            origin=tomogram.origin,
            **optics,
        )

    @property
    def relion_name(self) -> str:
        """The name to write into ``rlnTomoName``."""
        return self.star_name or self.name


def read_tomograms_star(path: Path | str) -> dict[str, TomogramInfo]:
    """Read RELION 5's (or WarpTools') ``tomograms.star``, by name without ``.tomostar``.

    Raises
    ------
    InputError
        If no block names tomograms with sizes (``rlnTomoSizeX/Y/Z``) and ``rlnTomoTiltSeriesPixelSize``.
    """
    path = Path(path)
    needed = ("rlnTomoName", "rlnTomoTiltSeriesPixelSize", *_SIZE)
    tables = [table for table in read_blocks(path).values() if "rlnTomoName" in table.columns]
    missing = [name for name in needed if not tables or name not in tables[0].columns]
    if missing:
        raise InputError(
            f"{path} is no tomograms.star: missing {', '.join(missing)}; expected the file of RELION's "
            "reconstruct-tomograms job (or WarpTools' *_tomograms.star)"
        )
    infos = (_from_row(row, path) for row in tables[0].to_dict("records"))
    return {info.name: info for info in infos}


def read_tomogram_info(path: Path | str, *, voxel_size: float | None = None, name: str | None = None) -> TomogramInfo:
    """Take size and voxel size from the header of a tomogram file; nothing else is read."""
    path = Path(path)
    header = read_mrc_header(path)
    return TomogramInfo(
        name=name or tomogram_name(path),
        size_zyx_px=header.shape_zyx,
        pixel_size=isotropic_voxel_size(header, path) if voxel_size is None else voxel_size,
    )


def read_infos(paths: Iterable[Path | str], *, voxel_size: float | None = None) -> dict[str, TomogramInfo]:
    """Infos by name from any mix of ``tomograms.star`` files and tomograms (headers only)."""
    infos: dict[str, TomogramInfo] = {}
    for path in map(Path, paths):
        if suffix_of(path) == ".star":
            infos |= read_tomograms_star(path)
        else:
            info = read_tomogram_info(path, voxel_size=voxel_size)
            infos[info.name] = info
    return infos


def find_info(infos: dict[str, TomogramInfo], name: str, why: str) -> TomogramInfo:
    """The info of one tomogram; `InputError` saying why it is needed and which tomograms are known."""
    if name in infos:
        return infos[name]
    known = ", ".join(list(infos)[:5]) + (", ..." if len(infos) > 5 else "")
    raise InputError(
        f"tomogram {name!r}: {why}; known tomograms: {known or 'none'}. "
        "Pass --tomograms-star with RELION's tomograms.star, or the tomogram itself"
    )


def _from_row(row: dict[Any, Any], path: Path) -> TomogramInfo:
    values = {field: float(row[column]) for field, column in _OPTICS.items() if _number(row.get(column))}
    spelled = str(row["rlnTomoName"])
    if not all(_number(row[column]) for column in (*_SIZE, "rlnTomoTiltSeriesPixelSize")):
        raise InputError(f"{path}: size or pixel size of tomogram {spelled!r} is not a number")
    z, y, x = (round(float(row[column])) for column in _SIZE)
    return TomogramInfo(
        name=tomogram_name(spelled),
        size_zyx_px=(z, y, x),
        pixel_size=float(row["rlnTomoTiltSeriesPixelSize"]),
        star_name=spelled,
        **values,
    )


def _number(value: Any) -> bool:
    return bool(pd.notna(value)) and not isinstance(value, str)
