"""Projection and back-projection against scipy and scikit-image, on the same packed scene, in one process.

    python -m tests.benchmark.projection --shape 180 512 512 --rows 64 --repeats 3 --json result.json

Projection: `scipy.ndimage.rotate` (linear and cubic, ``reshape=False``) and a sum, as many simulators do it; the truth
is the central slice, summed from the discrete Fourier transform as it stands. Back-projection:
`skimage.transform.iradon` on the same images with the same bare ramp. It can only make square slices, so its time is
counted per voxel (times Z / X). To be fair to both, Z and X are made odd (one centre) and the sample is a cylinder
about the tilt axis, of which rotation loses nothing. Peers get threads over rows as ours does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.transform import iradon

from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.imaging.backprojection import back_project
from cryoembed.simulate.imaging.projection import project
from cryoembed.simulate.imaging.weighting import ramp_filter
from cryoembed.simulate.scene.pack import pack

Array = np.ndarray
VOXEL = 10.0
FLOP = 4  # per voxel and tilt: two multiply-adds
EVERY = 6  # the truth is made for every sixth tilt


def sample(shape: tuple[int, int, int], seed: int = 0) -> Array:
    """A crowded scene in a cylinder about y, soft at its border."""
    depth, _, length = shape
    families = (("blob", 150), ("ring", 400), ("rod", 250), ("shell", 600), ("two_body", 800))
    species = [
        phantom(PhantomSpec(name=name, family=name, mass_kda=mass, seed=number), VOXEL)
        for number, (name, mass) in enumerate(families)
    ]
    scene = pack(species, shape, VOXEL, np.random.default_rng(seed), crowding=0.15)
    z, x = np.arange(depth) - depth // 2, np.arange(length) - length // 2
    inside = 1 / (1 + np.exp(np.clip(np.hypot(z[:, None], x[None]) - (depth // 2 - 10), -20, 20)))
    return np.asarray(scene.density * inside[:, None], dtype=np.float32)


def by_rotation(volume: Array, tilts_deg: Array, order: int, threads: int) -> Array:
    """Rotate each slab of rows and sum along the beam."""

    def work(rows: Array) -> Array:
        turned = (ndimage.rotate(rows, -t, axes=(0, 2), reshape=False, order=order) for t in tilts_deg)
        return np.stack([part.sum(axis=0) for part in turned])

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(work, np.array_split(volume, threads, axis=1))), axis=1)


def by_iradon(images: Array, tilts_deg: Array, depth: int, threads: int) -> Array:
    """Every row on its own; only the central ``depth`` lines of the square are kept."""
    length = images.shape[2]
    first = length // 2 - depth // 2

    def work(row: int) -> Array:
        square = iradon(images[:, row].T, tilts_deg, filter_name="ramp", circle=False, output_size=length)
        return square[first : first + depth].astype(np.float32)

    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(work, range(images.shape[1]))), axis=1)


def by_us(images: Array, tilts_deg: Array, shape: tuple[int, ...], threads: int) -> Array:
    """Filter (with the scale that `iradon` has) and back-project."""
    weights = np.full(len(tilts_deg), np.pi / len(tilts_deg))
    filtered = ramp_filter(images, VOXEL, weights=weights, hann=False)
    return back_project(filtered, tilts_deg, shape, threads=threads)


def central_slices(volume: Array, tilts_deg: Array) -> Array:
    """Projections exact for the band that the voxels can carry: no interpolation at all."""
    depth, height, length = volume.shape
    size = 2 * length
    frequency = np.fft.rfftfreq(size)[: length + 1]
    z, x = np.arange(depth) - depth // 2, np.arange(length) - length // 2
    images = []
    for tilt in np.deg2rad(tilts_deg):
        along_z = np.exp(2j * np.pi * np.sin(tilt) * np.outer(frequency, z)).astype(np.complex64)
        along_x = np.exp(-2j * np.pi * np.cos(tilt) * np.outer(frequency, x)).astype(np.complex64)
        spectrum = np.empty((height, len(frequency)), dtype=np.complex64)
        for row in range(height):
            spectrum[row] = np.einsum("fx,fx->f", along_z @ volume[:, row], along_x)
        image = np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequency * (length // 2)), n=size, axis=1)
        images.append(image[:, :length])
    return np.stack(images)


def interior_error(result: Array, truth: Array) -> float:
    """Relative L2 over the central three quarters of the last axis."""
    margin = result.shape[-1] // 8
    inner = (..., slice(margin, -margin))
    return float(np.linalg.norm(result[inner] - truth[inner]) / np.linalg.norm(truth[inner]))


def timed(work: Callable[[], Array], repeats: int, size: int = 1) -> tuple[Array, dict[str, float]]:
    """Result, and medians of CPU and wall seconds; ``size`` is voxels times tilts."""
    cpu, wall = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    seconds = statistics.median(cpu)
    return result, {
        "cpu_s": seconds,
        "wall_s": statistics.median(wall),
        "ns_per_voxel_tilt": seconds / size * 1e9,
    }


def ratios(peer: dict[str, float], ours: dict[str, float], share: float = 1.0) -> dict[str, float]:
    """How many times faster ours is; only a share of what the peer made was asked for."""
    return {f"ours_faster_{clock}": share * peer[f"{clock}_s"] / ours[f"{clock}_s"] for clock in ("cpu", "wall")}


def floors(repeats: int = 3) -> tuple[float, float]:
    """FLOP/s of a float32 matrix product on one thread of BLAS (if told so) and bytes/s of a copy."""
    a = np.ones((1024, 1024), dtype=np.float32)
    _, product = timed(lambda: a @ a, repeats)
    source, target = np.ones(1 << 26, dtype=np.float32), np.empty(1 << 26, dtype=np.float32)
    _, copy = timed(partial(np.copyto, target, source), repeats)
    return 2 * 1024**3 / product["cpu_s"], 2 * source.nbytes / copy["wall_s"]


def measure(
    shape: tuple[int, int, int], *, rows: int, tilts_deg: Array, repeats: int, threads: tuple[int, ...] = (1, 2)
) -> dict[str, dict[str, float]]:
    """A row per method and number of threads."""
    volume = sample((shape[0] - 1 + shape[0] % 2, rows, shape[2] - 1 + shape[2] % 2))
    depth, _, length = volume.shape
    truth = central_slices(volume, tilts_deg[::EVERY])
    project(volume[:, :1], tilts_deg)  # compiles
    back_project(np.zeros((1, 1, 8), np.float32), [0.0], (8, 1, 8))
    rows_out: dict[str, dict[str, float]] = {}
    work = volume.size * len(tilts_deg)
    for count in threads:
        images, ours = timed(partial(project, volume, tilts_deg, threads=count), repeats, work)
        rows_out[f"project, {count}t"] = ours | {"relative_l2": interior_error(images[::EVERY], truth)}
        for order in (1, 3):
            result, peer = timed(partial(by_rotation, volume, tilts_deg, order, count), max(repeats // 3, 1), work)
            errors = {
                "relative_l2": interior_error(result[::EVERY], truth),
                "ours_against_it": interior_error(images, result),
            }
            rows_out[f"rotate order {order}, {count}t"] = peer | errors | ratios(peer, ours)
        back, ours = timed(partial(by_us, images, tilts_deg, volume.shape, count), repeats, work)
        rows_out[f"back_project, {count}t"] = ours
        square = work * length // depth
        result, peer = timed(partial(by_iradon, images, tilts_deg, depth, count), max(repeats // 3, 1), square)
        errors = {"ours_against_it": interior_error(back, result)}
        rows_out[f"iradon, {count}t"] = peer | errors | ratios(peer, ours, share=depth / length)
    flops, bandwidth = floors()
    moved = volume.nbytes + images.nbytes
    for name in (f"project, {threads[0]}t", f"back_project, {threads[0]}t"):
        rows_out[name]["times_flop_floor"] = rows_out[name]["cpu_s"] / (FLOP * work / flops)
        rows_out[name]["times_memory_floor"] = rows_out[name]["wall_s"] / (moved / bandwidth)
    return rows_out


def table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as text."""
    columns = {
        "cpu s": "cpu_s",
        "wall s": "wall_s",
        "ns/vox/tilt": "ns_per_voxel_tilt",
        "L2 truth": "relative_l2",
        "L2 ours": "ours_against_it",
        "x cpu": "ours_faster_cpu",
        "x wall": "ours_faster_wall",
        "/ FLOP": "times_flop_floor",
        "/ memory": "times_memory_floor",
    }
    lines = [f"{'method':<18}" + "".join(f"{name:>12}" for name in columns)]
    for name, row in rows.items():
        cells = (f"{row[key]:>12.3g}" if key in row else f"{'':>12}" for key in columns.values())
        lines.append(f"{name:<18}" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(180, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--rows", type=int, default=64, help="of y that are measured; all methods are linear in it")
    parser.add_argument("--tilts", type=int, default=61, help="from -60 to 60 degrees")
    parser.add_argument("--repeats", type=int, default=3, help="of ours; slow peers run a third as often")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    settings = parser.parse_args()
    tilts = np.linspace(-60, 60, settings.tilts)
    rows = measure(tuple(settings.shape), rows=settings.rows, tilts_deg=tilts, repeats=settings.repeats)
    whole = settings.shape[1] / settings.rows
    print(f"{settings.tilts} tilts of {settings.shape}, measured on {settings.rows} rows (whole: times {whole:.3g})")
    print(table(rows))
    if settings.json:
        described = {name: str(value) for name, value in vars(settings).items()}
        settings.json.write_text(json.dumps({"settings": described, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
