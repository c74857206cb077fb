"""cryoembed: embedding-first particle mining for cryo-electron tomography.

The walk, verb by verb (each is a command and a recipe of the same name)::

    simulate -> pretrain -> train -> denoise | segment -> index -> query | cluster -> evaluate
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module; resolved on first use, so that `import cryoembed` stays instant
_PUBLIC = {
    "InputError": "cryoembed.errors",
    "Config": "cryoembed.config",
    "load_config": "cryoembed.config",
    "Tomogram": "cryoembed.tomogram",
    "Particles": "cryoembed.particles",
    "read_tomogram": "cryoembed.io",
    "write_mrc": "cryoembed.io",
    "read_particles": "cryoembed.io",
    "write_particles": "cryoembed.io",
    "EmbeddingStore": "cryoembed.store.embeddings",
    "EmbeddingIndex": "cryoembed.store.index",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cryoembed' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
