"""The walk under test: two small tomograms, networks set by hand, a store of them, and the command line at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoembed.io.mrc import write_mrc
from tests.recipes.hand_made import VOXEL_SIZE, save_encoder, save_finder

SHAPE = (24, 40, 44)
CENTRES = np.array([[z, y, x] for z in (6, 17) for y in (8, 30) for x in (7, 21, 36)])  # voxels, of balls
RADIUS = 4  # voxels

Run = Callable[..., Any]


@dataclass(frozen=True)
class Walk:
    """What the commands are given, and one store that they made of it."""

    tomograms: tuple[Path, Path]  # TS_1, TS_2: dark balls in noise
    finder: Path
    encoder: Path
    examples: Path
    store: Path

    @property
    def weights(self) -> tuple[str | Path, ...]:
        """Flags of ``index``."""
        fast = ("--precision", "fp32", "--set", "copies=1")
        return ("--voxel-weights", self.finder, "--subtomogram-weights", self.encoder, *fast)


@pytest.fixture(scope="session")
def run() -> Run:
    """Call the command line as a shell would; returns click's result (exit_code, stdout, stderr)."""
    from typer.testing import CliRunner

    from cryoembed.cli import app

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """What lies in a folder, hidden things included: path to hash, folders to ""."""

    def listing(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(folder.rglob("*"))
        }

    return listing


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Walk:
    """Made once per file of tests, which must leave it as it is."""
    folder = tmp_path_factory.mktemp("walk")
    made = Walk(
        tomograms=(_write_balls(folder / "TS_1.mrc", 1), _write_balls(folder / "TS_2.mrc", 2)),
        finder=save_finder(folder / "finder.safetensors", threshold=2.0),
        encoder=save_encoder(folder / "encoder.safetensors"),
        examples=folder / "examples.csv",
        store=folder / "store",
    )
    z, y, x = CENTRES[0] * VOXEL_SIZE
    made.examples.write_text(f"tomogram,z,y,x\nTS_1,{z},{y},{x}\n")
    done = run("index", *made.tomograms, "--out", made.store, *made.weights)
    assert done.exit_code == 0, done.output
    return made


def _write_balls(path: Path, seed: int) -> Path:
    volume = np.random.default_rng(seed).normal(scale=0.1, size=SHAPE)
    grid = np.indices(SHAPE)
    for centre in CENTRES:
        volume[((grid - centre[:, None, None, None]) ** 2).sum(axis=0) <= RADIUS**2] -= 1
    write_mrc(path, volume.astype(np.float32), VOXEL_SIZE)
    return path
