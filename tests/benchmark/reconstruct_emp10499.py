"""The real tilt series: EMPIAR-10499 00254 reconstructed by our code, against the reconstruction that came with it.

    python -m tests.benchmark.reconstruct_emp10499 ../shared/data/tomograms/emp10499 --out runs/reconstruct_emp10499

Prints correlations with the provided 10 A crop and 20 A volume, the width of the gold beads at half maximum (median
over the ones that the pseudo-labels call gold), seconds and peak memory; ``--out`` also gets pictures (ours on the
left). The provided volumes are int8: beads may be clipped there, which makes them look wider.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cryoembed.evaluate.beads import bead_widths
from cryoembed.io.mrc import read_mrc
from cryoembed.io.tilt_series import read_tilts
from cryoembed.plot.image import to_grey
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct

Array = np.ndarray
PIXEL = 10.0  # A
SHAPE = (240, 630, 652)  # 10 A voxels
CROP = (72, 96, 96)  # first voxel of the provided 10 A crop
LABELS = "00254_ribosome_pseudolabels_y_below_180.csv"


def read_series(folder: Path) -> tuple[Array, TiltGeometry]:
    """Images without their mean, and how Warp aligned them."""
    stack, _ = read_mrc(folder / "00254_stack_f16.mrc")
    images = np.asarray(stack, dtype=np.float32)
    images -= images.mean(axis=(1, 2), keepdims=True)
    table = read_tilts(folder / "00254.xml", images=len(images))
    return images, TiltGeometry.of_table(table, PIXEL)


def reconstruct_rows(folder: Path, rows: slice, threads: int | None = None) -> Array:
    """(z, y, x) of some rows of the uncropped 10 A volume."""
    images, geometry = read_series(folder)
    shape = (SHAPE[0], rows.stop - rows.start, SHAPE[2])
    centre = (SHAPE[0] // 2, SHAPE[1] // 2 - rows.start, SHAPE[2] // 2)
    return reconstruct(images, geometry, shape, PIXEL, centre=centre, threads=threads)


def correlations(folder: Path, ours: Array, rows: slice) -> dict[str, float]:
    """With the part of either provided volume that these rows cover; the 20 A volume is an average-binning."""
    crop, full = (np.asarray(read_mrc(folder / f"00254_{name}.mrc")[0]) for name in ("10A_crop", "20A_full"))
    first, last = max(rows.start, CROP[1]), min(rows.stop, CROP[1] + crop.shape[1])
    inside = tuple(slice(start, start + size) for start, size in zip(CROP, crop.shape, strict=True))
    own = ours[inside[0], first - rows.start : last - rows.start, inside[2]]
    binned = bin2(ours[:, rows.start % 2 :])
    start = (rows.start + 1) // 2
    return {
        "10A_crop": correlation(own, crop[:, first - CROP[1] : last - CROP[1]]),
        "20A_full": correlation(binned, full[:, start : start + binned.shape[1]]),
    }


def bin2(volume: Array) -> Array:
    """Averages of 2 x 2 x 2 voxels."""
    z, y, x = (size // 2 for size in volume.shape)
    return volume[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))


def correlation(a: Array, b: Array) -> float:
    """Pearson's, over all voxels."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def picture(ours: Array, theirs: Array, path: Path, thick: int = 5) -> None:
    """Central slices through z (above) and y (below), averaged over some planes; ours on the left."""
    sides = []
    for volume in (ours, theirs):
        z, y = volume.shape[0] // 2, volume.shape[1] // 2
        flat = np.asarray(volume[z - thick // 2 : z + thick // 2 + 1], "f4").mean(axis=0)
        upright = np.asarray(volume[:, y - thick // 2 : y + thick // 2 + 1], "f4").mean(axis=1)
        sides.append(np.concatenate([to_grey(flat), to_grey(upright)]))
    Image.fromarray(np.concatenate(sides, axis=1)).save(path)


def run(folder: Path, out: Path | None = None, threads: int | None = None) -> dict[str, object]:
    """Reconstruct everything and compare."""
    started = time.perf_counter(), time.process_time()
    ours = reconstruct_rows(folder, slice(0, SHAPE[1]), threads)
    seconds = {"wall_s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    labels = pd.read_csv(folder / LABELS)
    beads = labels[labels["tier"] == "gold"]
    full, _ = read_mrc(folder / "00254_20A_full.mrc")
    at_20 = beads[["z_20A", "y_20A", "x_20A"]].to_numpy()
    figures: dict[str, object] = {
        "correlation": correlations(folder, ours, slice(0, SHAPE[1])),
        "beads": len(beads),
        "bead_fwhm_yx_A": {
            "ours_10A": np.nanmedian(
                bead_widths(ours, beads[["z_10A", "y_10A", "x_10A"]].to_numpy(), 10.0), 0
            ).tolist(),
            "ours_20A": np.nanmedian(bead_widths(bin2(ours), at_20, 20.0), 0).tolist(),
            "provided_20A": np.nanmedian(bead_widths(full, at_20, 20.0), 0).tolist(),
        },
        **seconds,
        "peak_memory_mib": peak,
        "images_and_volume_mib": (ours.nbytes + 41 * 630 * 652 * 4) / 2**20,
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        crop, _ = read_mrc(folder / "00254_10A_crop.mrc")
        inside = tuple(slice(start, start + size) for start, size in zip(CROP, crop.shape, strict=True))
        picture(ours[inside], crop, out / "slices_10A.png")
        picture(bin2(ours), full, out / "slices_20A.png")
        (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with 00254_stack_f16.mrc and its side files")
    parser.add_argument("--out", type=Path, help="folder for the picture and figures.json")
    parser.add_argument("--threads", type=int)
    settings = parser.parse_args()
    print(json.dumps(run(settings.folder, settings.out, settings.threads), indent=1))


if __name__ == "__main__":
    main()
