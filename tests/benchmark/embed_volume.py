"""Whole-volume voxel embedding against the two usual ways, on the same weights, in one process.

    python -m tests.benchmark.embed_volume --shape 96 192 192 --width 16 --repeats 3 --threads 2 --json result.json

Peers: (a) MONAI's sliding_window_inference, overlap 0.5, constant blending; (b) windows with 50 % overlap, keeping the
centre. Both run the network as it is (float32, not folded). Everything is compared with one pass of that network
over the whole volume. Repeats are interleaved; the figures are medians of process CPU seconds, wall time beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from cryoembed.infer.voxels import predict_volume
from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork
from tests.infer.conftest import enliven

Embedding = np.ndarray  # (c, z, y, x)
PEERS = ("monai", "centres")


def network_of(width: int) -> VoxelNetwork:
    """The thesis' network at ``width / 64`` of its channels, with random but lively weights."""
    torch.manual_seed(0)
    backbone = BackboneConfig(width=width)
    network = build(VoxelNetworkConfig(backbone=backbone, pyramid_channels=2 * width, voxel_dim=width))
    enliven(network, 1)
    return network.eval()


def methods(network: VoxelNetwork, volume: np.ndarray, roi: int) -> dict[str, Callable[[], Embedding]]:
    """Ways to embed the volume, by name."""
    return {
        "monai": lambda: embed_by_monai(network, volume, roi),
        "centres": lambda: embed_by_centres(network, volume, roi),
        "ours fp32": lambda: embed_by_us(network, volume, "fp32"),
        "ours bf16": lambda: embed_by_us(network, volume, "bf16"),
    }


def embed_by_us(network: VoxelNetwork, volume: np.ndarray, precision: str) -> Embedding:
    """Planning and self-check included."""
    return predict_volume(network, volume, outputs=("embedding",), device="cpu", precision=precision)["embedding"]


@torch.inference_mode()
def embed_by_one_pass(network: VoxelNetwork, volume: np.ndarray) -> Embedding:
    """The truth."""
    return network.embed(torch.from_numpy(volume)[None, None])[0].numpy()


@torch.inference_mode()
def embed_by_monai(network: VoxelNetwork, volume: np.ndarray, roi: int) -> Embedding:
    """Overlapping windows, averaged."""
    inputs = torch.from_numpy(volume)[None, None]
    return sliding_window_inference(inputs, (roi,) * 3, 1, network.embed, overlap=0.5, mode="constant")[0].numpy()


@torch.inference_mode()
def embed_by_centres(network: VoxelNetwork, volume: np.ndarray, roi: int) -> Embedding:
    """Windows at steps of half their side; each gives its central half, those at the faces also their rim."""
    embedding = np.empty((network.config.voxel_dim, *volume.shape), dtype=np.float32)
    along = []
    for size in volume.shape:
        starts = sorted({*range(0, max(size - roi, 0), roi // 2), max(size - roi, 0)})
        along.append([(start, 0 if start == 0 else start + roi // 4) for start in starts])
    for corner in itertools.product(*along):
        window = tuple(slice(start, start + roi) for start, _ in corner)
        kept = tuple(slice(first, None) for _, first in corner)  # later windows overwrite all but this one's centre
        part = network.embed(torch.from_numpy(np.ascontiguousarray(volume[window]))[None, None])[0].numpy()
        inner = tuple(slice(first - start, None) for start, first in corner)
        target = embedding[(slice(None), *kept)]
        part = part[(slice(None), *inner)]
        target[:, : part.shape[1], : part.shape[2], : part.shape[3]] = part
    return embedding


def compare(result: Embedding, truth: Embedding) -> dict[str, float]:
    """Error of unit vectors against the truth."""
    difference = result - truth
    return {
        "max_abs_difference": float(np.abs(difference).max()),
        "relative_l2": float(np.linalg.norm(difference) / np.linalg.norm(truth)),
        "least_cosine": float((result * truth).sum(axis=0).min()),
    }


def measure(shape: tuple[int, int, int], *, width: int, roi: int, repeats: int) -> dict[str, dict[str, float]]:
    """Time and compare all methods; a row per method."""
    network = network_of(width)
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    truth = embed_by_one_pass(network, volume)
    ways = methods(network, volume, roi)
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    rows: dict[str, dict[str, float]] = {}
    for _, (name, embed) in itertools.product(range(repeats), ways.items()):
        started = time.perf_counter(), time.process_time()
        result = embed()
        wall[name].append(time.perf_counter() - started[0])
        cpu[name].append(time.process_time() - started[1])
        rows[name] = compare(result, truth)
    for name, row in rows.items():
        row["cpu_s"], row["wall_s"] = statistics.median(cpu[name]), statistics.median(wall[name])
        row["cpu_ns_per_voxel"] = row["cpu_s"] / volume.size * 1e9
        for peer in PEERS:
            ratios = [theirs / ours for theirs, ours in zip(cpu[peer], cpu[name], strict=True)]
            row[f"times_faster_than_{peer}"] = statistics.median(ratios)
            ratios = [theirs / ours for theirs, ours in zip(wall[peer], wall[name], strict=True)]
            row[f"times_faster_than_{peer}_wall"] = statistics.median(ratios)
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as text."""
    head = f"{'method':<10} {'cpu s':>8} {'wall s':>8} {'ns/voxel':>9} {'x monai':>8} {'x centres':>9}"
    lines = [f"{head} {'max diff':>9} {'rel L2':>9} {'least cosine':>12}"]
    for name, row in rows.items():
        speed = f"{row['times_faster_than_monai']:>8.2f} {row['times_faster_than_centres']:>9.2f}"
        error = f"{row['max_abs_difference']:>9.1e} {row['relative_l2']:>9.1e} {row['least_cosine']:>12.6f}"
        times = f"{row['cpu_s']:>8.2f} {row['wall_s']:>8.2f} {row['cpu_ns_per_voxel']:>9.0f}"
        lines.append(f"{name:<10} {times} {speed} {error}")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 192, 192), metavar=("Z", "Y", "X"))
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage (the thesis: 64)")
    parser.add_argument("--roi", type=int, default=64, help="side of the peers' windows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the figures here")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    shape = tuple(settings.shape)
    rows = measure(shape, width=settings.width, roi=settings.roi, repeats=settings.repeats)
    print(f"{shape} voxels, width {settings.width}, windows of {settings.roi}, {settings.threads} threads")
    print(table(rows))
    if settings.json:
        described = {name: str(value) for name, value in vars(settings).items()}
        machine = {"processor": platform.processor(), "torch": torch.__version__}
        settings.json.write_text(json.dumps({"settings": described, "machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
