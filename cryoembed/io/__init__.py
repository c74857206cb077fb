"""Reading and writing: one file per format, one function for tomograms, two for particles.

Names resolve on first use, so that `cryoembed.io.peek` needs neither numpy nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryoembed.io.formats import FORMATS, read_particles, write_particles
    from cryoembed.io.mrc import create_mrc, read_mrc, read_tomogram, write_mrc
    from cryoembed.io.peek import describe
    from cryoembed.io.shrec import ShrecModel, read_model, write_model
    from cryoembed.io.tilt_series import TiltTable, read_tilts, read_xf
    from cryoembed.io.tomogram_info import TomogramInfo, read_infos, read_tomogram_info, read_tomograms_star

_HOME = {
    "FORMATS": "formats",
    "read_particles": "formats",
    "write_particles": "formats",
    "create_mrc": "mrc",
    "read_mrc": "mrc",
    "read_tomogram": "mrc",
    "write_mrc": "mrc",
    "describe": "peek",
    "ShrecModel": "shrec",
    "read_model": "shrec",
    "write_model": "shrec",
    "TiltTable": "tilt_series",
    "read_tilts": "tilt_series",
    "read_xf": "tilt_series",
    "TomogramInfo": "tomogram_info",
    "read_infos": "tomogram_info",
    "read_tomograms_star": "tomogram_info",
    "read_tomogram_info": "tomogram_info",
}

__all__ = [
    "FORMATS",
    "ShrecModel",
    "TiltTable",
    "TomogramInfo",
    "create_mrc",
    "describe",
    "read_infos",
    "read_model",
    "read_mrc",
    "read_particles",
    "read_tilts",
    "read_tomogram",
    "read_tomograms_star",
    "read_tomogram_info",
    "read_xf",
    "write_model",
    "write_mrc",
    "write_particles",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
