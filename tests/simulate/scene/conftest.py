"""A membrane protein and settings that the scene's tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cryoembed.config import parse_config
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.sample import SampleConfig

Make = Callable[..., SampleConfig]


@pytest.fixture(scope="session")
def mushroom() -> Template:
    """A stalk through the membrane at its origin and a heavy head 60 A above it, towards +z."""
    stalk = [(z, 0.0, 0.0) for z in range(-20, 50, 5)]
    head = [(60.0 + z, y, x) for z in (-15, 0, 15) for y in (-15, 0, 15) for x in (-15, 0, 15)]
    positions = np.array(stalk + head, dtype=float)
    made = template_from_atoms("mushroom", positions, np.ones(len(positions)), 10.0, 120.0, resolution=20.0)
    z, y, x = (-positions.mean(axis=0)).tolist()
    return replace(made, origin_offset_zyx=(z, y, x), membrane=True)


@pytest.fixture(scope="session")
def make_config() -> Make:
    """Settings of a small sample; species are handed to `compose` by the tests themselves."""

    def make(**changes: Any) -> SampleConfig:
        few: dict[str, Any] = {
            "shape": [48, 64, 72],
            "phantoms": [{"name": "unused", "family": "blob", "mass_kda": 100}],
        }
        if not {"counts", "crowding", "particles"} & set(changes):
            few["counts"] = 0
        return parse_config(SampleConfig, {**few, **changes})

    return make
