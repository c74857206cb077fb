"""What the data sets of `configs/simulate_*.yaml` hold and cost: one whole model of each, in a process of its own.

    python -m tests.benchmark.datasets ../shared/data                       # the small forms
    python -m tests.benchmark.datasets ../shared/data general cell          # by name: configs/simulate_NAME.yaml
    python -m tests.benchmark.datasets ../shared/data --all --out runs/data # every one, with slices to look at

Seconds and memory are of the whole process after its imports, on as many threads as the machine gives; the estimate
is what `cryoembed simulate` says before it starts. ``truth`` is the share of particles whose centre, or one of the two
voxels around it, carries their own id.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from cryoembed.config import load_config
from cryoembed.evaluate.table import as_text
from cryoembed.evaluate.truth import check_truth
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.simulate.cost import cost
from cryoembed.simulate.dataset import simulate_model
from cryoembed.simulate.imaging.series import Imaged
from cryoembed.simulate.scene.truth import STRUCTURES, Scene
from cryoembed.tomogram import Tomogram

CONFIGS = Path(__file__).parents[2] / "configs"


def measured(
    path: Path, folder: Path, index: int = 0, settings: tuple[str, ...] = (), out: Path | None = None
) -> dict[str, object]:
    """One row: what model ``index`` of a config holds, and what it took; made in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured_here, path, folder, index, settings, out).result()


def _measured_here(
    path: Path, folder: Path, index: int, settings: tuple[str, ...], out: Path | None
) -> dict[str, object]:
    config = load_config(SimulateConfig, path, overrides=settings, flags={"structure_folder": folder})
    wall, cpu = time.perf_counter(), time.process_time()
    scene, imaged = simulate_model(config, index)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if out is not None:
        save_slices(scene, imaged, out / f"{path.stem}_{index}.png")
    estimate = cost(config, 1)
    labels = scene.particles.labels
    own = np.array([label not in STRUCTURES or label == "nucleosome" for label in labels], dtype=bool)
    return {
        "config": path.stem.removeprefix("simulate_"),
        "shape": "x".join(str(size) for size in config.shape),
        "tilts": len(imaged.geometry.tilts_deg),
        "particles": int(own.sum()),
        "species": len(set(labels[own])),
        "vesicles": int((labels == "vesicle").sum()),
        "gold": int((labels == "fiducial").sum()),
        "crowding": round(scene.crowding, 3),
        "truth": _truth(scene),
        **{name: round(value, 3) for name, value in imaged.params.items() if name.startswith("snr")},
        **{name: round(imaged.params[name], 1) for name in ("defocus_um", "dose", "shift_sd")},
        "beam_damage_snr": round(imaged.exposures.beam_damage_snr, 2),
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "cpu_s_estimate": round(estimate.seconds, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "gb_estimate": round(estimate.memory_gb, 2),
    }


def _truth(scene: Scene) -> float:
    if not len(scene.particles):
        return float("nan")
    occupancy = Tomogram(scene.occupancy_mask, scene.voxel_size, "occupancy")
    return round(check_truth(scene.particles, occupancy).own_id_share, 3)


def save_slices(scene: Scene, imaged: Imaged, path: Path) -> None:
    """Middle slices of density, tomogram and class mask beside each other, and across the beam below."""
    from PIL import Image

    columns = []
    for volume, limits in (
        (scene.density, (0.5, 99.7)),
        (imaged.reconstruction, (0.5, 99.5)),
        (scene.class_mask, None),
    ):
        middle = tuple(size // 2 for size in volume.shape)
        column = np.concatenate([volume[middle[0]], volume[:, middle[1]]]).astype(np.float32)
        if limits is None:  # neighbouring classes get different shades
            grey = np.where(column > 0, 60 + column * 67 % 196, 0)
        else:
            low, high = np.percentile(column, limits)
            grey = 255 * np.clip((column - low) / max(high - low, 1e-6), 0, 1)
        columns.append(np.pad(grey, 1, constant_values=255))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(columns, axis=1).astype(np.uint8)).save(path)


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of structures and maps")
    parser.add_argument("names", nargs="*", help="of configs; default: the small ones")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="folder for slices as pictures")
    chosen = parser.parse_args()
    known = sorted(CONFIGS.glob("simulate_*.yaml"))
    small = [path for path in known if "mini" in path.stem or path.stem.endswith(("_small", "_demo"))]
    paths = [CONFIGS / f"simulate_{name}.yaml" for name in chosen.names] or (known if chosen.all else small)
    folder, rows = chosen.folder.absolute(), []
    print(f"{len(os.sched_getaffinity(0))} cores")
    for path in paths:
        rows.append(measured(path, folder, 0, tuple(chosen.settings), chosen.out))
        print(rows[-1], flush=True)
    print(as_text([{name: str(value) for name, value in row.items()} for row in rows]))


if __name__ == "__main__":
    main()
