"""What is planted comes back where it was planted: through resampling, tiles, slabs, instances, boxes, index, query.

The networks are set by hand, so that nothing here depends on a training; tiles and slabs are made as small as they get,
so that planted voxels lie on both sides of their seams, on every face, edge and corner, and in the middle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cryoembed.infer import plan, vectors
from cryoembed.io import read_particles, read_tomogram, write_mrc
from cryoembed.models.config import VoxelNetworkConfig
from cryoembed.models.receptive import receptive_field_halo, total_stride
from cryoembed.particles import Particles
from cryoembed.preprocess import prepare as preparing
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.sources import tomogram_infos
from cryoembed.store import EmbeddingStore
from cryoembed.store.index import EmbeddingIndex
from tests.recipes.hand_made import BACKBONE, BOX, VOXEL_SIZE, WHOLE_RANGE, save_encoder, save_finder, save_transformer

SHAPE = (32, 40, 40)  # voxels of the networks
PLANES = 4  # of a slab
TILE = 10  # the least: the reach of the networks, rounded up to their stride


@dataclass(frozen=True)
class Case:
    """One way in: how it was recorded, where it lies, how the networks look at it, how far a hit may be off (A)."""

    voxel_size: float
    origin: tuple[float, float, float]
    contrast: Literal["dark", "bright"]
    taps: Literal["centre", "around"]
    within: float
    save_encoder: Callable[..., Path] = save_encoder
    encoder_inputs: InputConfig = WHOLE_RANGE


CASES = {
    "lone dark voxels": Case(10.0, (0.0, 0.0, 0.0), "dark", "centre", 1e-2),
    "a wider look, in a cropped volume": Case(
        10.0, (720.0, 960.0, -35.5), "bright", "around", VOXEL_SIZE, save_transformer
    ),
    "resampled from 20 A, in a binned volume": Case(20.0, (5.0, 1205.0, 5.0), "bright", "centre", VOXEL_SIZE),
    "flattened for the encoder": Case(
        10.0, (0.0, 0.0, 0.0), "dark", "centre", 1e-2, encoder_inputs=WHOLE_RANGE.model_copy(update={"flatten": True})
    ),
}


def test_the_seams_are_where_these_tests_plant() -> None:
    network = VoxelNetworkConfig(backbone=BACKBONE, heads=("denoise", "instance"))
    stride = total_stride(network)
    assert -(-receptive_field_halo(network) // stride) * stride == TILE


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_planted_voxel_comes_back_once_at_its_place(
    case: Case,
    tmp_path: Path,
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    places = _places(case.voxel_size)
    planted = places * case.voxel_size + case.origin
    tomogram, peak, seen_peak = _write(tmp_path / "TS_01.mrc", places, case)
    finder = save_finder(tmp_path / "finder.safetensors", threshold=0.4 * peak, taps=case.taps)
    encoder = case.save_encoder(tmp_path / "encoder.safetensors", inputs=case.encoder_inputs)
    boxes = _small_slabs_and_seen_boxes(monkeypatch)

    store_path = tmp_path / "store"
    inputs = ("--origin", ",".join(map(str, case.origin)), "--contrast", case.contrast)
    weights = ("--voxel-weights", finder, "--subtomogram-weights", encoder)
    least = ("--set", "tile_memory_gb=1e-5", "--set", "instances.min_volume_A3=0", "--precision", "fp32")
    done = run("index", tomogram, "--out", store_path, *inputs, *weights, *least, "--set", "copies=1")
    assert done.exit_code == 0, done.output
    assert "in 16 tiles of 10 x 10 columns" in caplog.text

    store = EmbeddingStore.open(store_path)
    _assert_each_once(store.particles(), planted, case.within)
    centre = slice(BOX // 2 - 1, BOX // 2 + 2)
    assert len(boxes) == len(planted)
    assert min(box[centre, centre, centre].max() for box in boxes) > 0.4 * seen_peak, "each box holds its particle"
    _, nearest = EmbeddingIndex.load(store).search(store.vectors(), 1)
    np.testing.assert_array_equal(nearest[:, 0], store.row_ids)

    example = Particles.from_arrays("TS_01", planted[[13]])
    example.table.to_csv(tmp_path / "example.csv", index=False)
    for hits in ("hits.csv", "hits.star"):
        done = run("query", store_path, "--examples", tmp_path / "example.csv", "--out", tmp_path / hits)
        assert done.exit_code == 0, done.output
        found = read_particles(tmp_path / hits, tomograms=tomogram_infos(store))
        _assert_each_once(found, planted, case.within)
        best = found.positions_zyx[0] - planted[13]
        assert np.abs(best).max() <= case.within, "the box at the example's place is the most like it"


@pytest.mark.parametrize("axis", range(3))
def test_a_particle_across_a_seam_is_one_particle(
    axis: int, tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balls centred on the border between two tiles (y, x) and between two slabs (z)."""
    monkeypatch.setitem(plan.MOST_PLANES, "cpu", PLANES)
    centre = np.array([18.0, 14.0, 14.0])
    centre[axis] = (2 * PLANES if axis == 0 else 2 * TILE) - 0.5
    grid = np.indices(SHAPE)
    density = np.random.default_rng(0).normal(scale=0.02, size=SHAPE)
    density[((grid - centre[:, None, None, None]) ** 2).sum(axis=0) <= 4**2] += 1
    write_mrc(tmp_path / "TS_01.mrc", density.astype(np.float32), VOXEL_SIZE)
    peak = float(
        preparing.prepare(read_tomogram(tmp_path / "TS_01.mrc"), WHOLE_RANGE, contrast="bright").tomogram.data.max()
    )
    finder = save_finder(tmp_path / "finder.safetensors", threshold=0.5 * peak)
    arguments = ("--out", tmp_path / "out", "--weights", finder, "--contrast", "bright", "--precision", "fp32")
    done = run("segment", tmp_path / "TS_01.mrc", *arguments, "--set", "tile_memory_gb=1e-5")
    assert done.exit_code == 0, done.output
    found = read_particles(tmp_path / "out" / "TS_01_particles.csv")
    _assert_each_once(found, centre[None] * VOXEL_SIZE, VOXEL_SIZE / 2)


def _places(voxel_size: float) -> np.ndarray:
    """(n, 3) voxels: corners, edges, faces, the middle, and both sides of seams; each far from the others."""
    factor = int(voxel_size / VOXEL_SIZE)
    z, y, x = (size // factor for size in SHAPE)
    seam = TILE // factor
    borders = itertools.product((0, z // 2, z - 1), (0, 2 * seam, y - 1), (0, 2 * seam - 1, x - 1))
    beside = itertools.product((z // 4, 3 * z // 4 - 1), (seam - 1, 3 * seam), (seam, 3 * seam - 1))
    return np.array([*borders, *beside])


def _write(path: Path, places: np.ndarray, case: Case) -> tuple[Path, float, float]:
    """The tomogram, and how bright the least bright planted voxel is as the finder and as the encoder see it."""
    shape = [int(size * VOXEL_SIZE / case.voxel_size) for size in SHAPE]
    density = np.random.default_rng(0).normal(scale=0.02, size=shape)
    density[tuple(places.T)] += 1
    write_mrc(path, np.float32(density if case.contrast == "bright" else -density), case.voxel_size)
    fine = tuple(np.round(places * case.voxel_size / VOXEL_SIZE).astype(int).T)
    prepared = [
        preparing.prepare(read_tomogram(path), inputs, contrast=case.contrast).tomogram.data[fine].min()
        for inputs in (WHOLE_RANGE, case.encoder_inputs)
    ]
    return path, float(prepared[0]), float(prepared[1])


def _small_slabs_and_seen_boxes(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Make slabs thin everywhere; returns a list that will hold every box that is embedded."""
    monkeypatch.setitem(plan.MOST_PLANES, "cpu", PLANES)
    monkeypatch.setattr(preparing, "_SLAB_VOXELS", PLANES * SHAPE[1] * SHAPE[2])
    seen: list[np.ndarray] = []
    embed_boxes = vectors.embed_boxes

    def spy(model: Any, boxes: Any, **settings: Any) -> np.ndarray:
        batches = list(boxes)
        seen.extend(box for batch in batches for box in batch)
        return embed_boxes(model, batches, **settings)

    monkeypatch.setattr(vectors, "embed_boxes", spy)
    return seen


def _assert_each_once(found: Particles, planted: np.ndarray, within: float) -> None:
    distances = cdist(planted, found.positions_zyx, metric="chebyshev")
    assert len(found) == len(planted), f"{len(planted)} planted, {len(found)} found"
    assert distances.min(axis=1).max() <= within, f"lost: {planted[distances.min(axis=1) > within].tolist()}"
    assert len(set(distances.argmin(axis=1))) == len(planted), "one hit answers for two"
