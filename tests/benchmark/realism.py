"""Does a simulated tomogram look like a recorded one? EMPIAR-10499 series 00254 beside a simulated cell, in numbers.

    python -m tests.benchmark.realism ../shared/data/tomograms/emp10499 --out runs/realism --picture docs/real_and_simulated.png

Simulates `configs/simulate_cell.yaml` (the acquisition of that series), with the spectrum as the physics gives it and
with it matched ring by ring to the recorded series, and prints

- mean and s.d. of each tilt and the radial power of the untilted image, and by which factor they differ (the unit of
  intensity, one number, is taken from the untilted mean);
- the AUC of a small convolutional network that is told to separate real from simulated crops of 64 voxels inside of the
  cells (`critic`): 0.5 could not tell them apart, 1 always can. As a control, the recorded volume is compared with
  itself (left and right of the middle of the cell), and two simulated cells with each other.

Both series go through the same reconstruction (ramp x soft Hann x dose weight). The recorded images are turned by 4.3
degrees and shifted on the way; the simulated ones are laid as they lay first, so that interpolation tells nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from cryoembed.config import load_config
from cryoembed.evaluate.realism import SeriesStatistics, fold, series_statistics
from cryoembed.evaluate.table import as_text
from cryoembed.io.mrc import read_mrc, write_mrc
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.simulate.dataset import simulate_model
from tests.benchmark.critic import Effort, separability
from tests.benchmark.reconstruct_emp10499 import CROP, PIXEL, read_series
from tests.benchmark.recorded import DEPTH, Mask, Volume, laid_as, rebuilt, recorded_cell

CONFIG = Path(__file__).parents[2] / "configs/simulate_cell.yaml"
STACK = "00254_stack_f16.mrc"
ANOTHER = 10877  # the seed of a cell with a similar outline
EVERY = slice(0, None, 5)


def scaled_to(simulated: SeriesStatistics, real: SeriesStatistics) -> SeriesStatistics:
    """In the unit of the recorded series."""
    middle = len(real.mean) // 2
    return simulated.scaled(real.mean[middle] / simulated.mean[middle])


def tables(tilts_deg: npt.NDArray[np.float64], real: SeriesStatistics, ours: SeriesStatistics) -> str:
    """Mean and s.d. of every fifth tilt, and the power of the middle one."""
    middle = len(real.mean) // 2
    curves = {
        "mean, real": real.mean, "mean, simulated": ours.mean,
        "s.d., real": real.standard_deviation, "s.d., simulated": ours.standard_deviation,
    }  # fmt: skip
    rows = [
        {"tilt": f"{tilt:.0f}"} | {name: f"{curve[EVERY][at]:.1f}" for name, curve in curves.items()}
        for at, tilt in enumerate(tilts_deg[EVERY])
    ]
    power = [
        {"power at 0": name} | {f"{0.05 * at:.2f}": f"{value:.2f}" for at, value in enumerate(of.power[middle])}
        for name, of in (("real", real), ("simulated", ours))
    ]
    return as_text(rows) + "\n\n" + as_text(power)


def folds(ours: SeriesStatistics, real: SeriesStatistics) -> dict[str, float]:
    """By which factors they differ at most: at the tilts and bins of the table, and at all of them."""
    middle = len(real.mean) // 2
    mean, spread = fold(ours.mean, real.mean), fold(ours.standard_deviation, real.standard_deviation)
    power = fold(ours.power, real.power)
    worst = {
        "mean, every 5th tilt": mean[EVERY].max(),
        "s.d., every 5th tilt": spread[EVERY].max(),
        "power at 0": power[middle].max(),
        "mean, all tilts": mean.max(),
        "s.d., all tilts": spread.max(),
        "power, all tilts": power.max(),
        "power, all tilts, without the first bin": power[:, 1:].max(),
        "share of all powers within 1.5": (power < 1.5).mean(),
    }
    return {name: round(float(value), 3) for name, value in worst.items()}


def beside(real: Volume, ours: Volume, path: Path, thick: int = 5) -> None:
    """Two slices of the same plane as one picture: real left, simulated right, the same grey levels in units of s.d."""
    images = []
    for volume in (real, ours):
        middle = volume.shape[0] // 2
        flat = volume[middle - thick // 2 : middle + thick // 2 + 1].mean(axis=0)
        images.append((flat - np.median(flat)) / (np.percentile(flat, 84) - np.percentile(flat, 16)) * 2)
    gap = np.full((images[0].shape[0], 8), 3.0)
    sheet = np.clip((np.concatenate([images[0], gap, images[1]], axis=1) + 3) / 6, 0, 1) * 255
    titled = Image.new("L", (sheet.shape[1], sheet.shape[0] + 22), 255)
    titled.paste(Image.fromarray(sheet.astype(np.uint8)), (0, 22))
    for at, title in ((4, "recorded: EMPIAR-10499, series 00254"), (images[0].shape[1] + 12, "simulated")):
        ImageDraw.Draw(titled).text((at, 5), title, fill=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    titled.quantize(16).save(path, optimize=True)


def run(
    folder: Path,
    structures: Path,
    out: Path,
    *,
    config_path: Path = CONFIG,
    picture: Path | None = None,
    effort: Effort | None = None,
) -> dict[str, dict[str, float]]:
    """Simulate, compare and print; the volumes and `realism.json` are kept in ``out``."""
    effort = Effort() if effort is None else effort
    out.mkdir(parents=True, exist_ok=True)
    images = np.asarray(read_mrc(folder / STACK)[0], dtype=np.float32)
    real = series_statistics(images)
    _, reported = read_series(folder)
    basic = load_config(SimulateConfig, config_path, flags={"out": out, "structure_folder": structures.resolve()})
    shape = basic.shape
    # both in the frame of the sample, which lay a little inclined
    geometry = replace(reported, tilts_deg=basic.imaging.planned_tilts_deg())
    recorded = rebuilt(images, geometry, shape)[DEPTH]
    write_mrc(out / "recorded.mrc", recorded, PIXEL)
    cells = {"recorded": (recorded, recorded_cell(shape)[DEPTH])}
    matching = {"spectrum_file": (folder / STACK).resolve(), "spectrum_pixel": PIXEL}
    figures: dict[str, dict[str, float]] = {}
    for name, imaging, seed in (
        ("physics", {}, basic.seed),
        ("matched", matching, basic.seed),
        ("another cell", {}, ANOTHER),
    ):
        config = basic.model_copy(update={"imaging": basic.imaging.model_copy(update=imaging), "seed": seed})
        scene, imaged = simulate_model(config, 0)
        assert imaged.tilt_series is not None
        assert scene.cell_mask is not None
        volume = rebuilt(laid_as(imaged.tilt_series, geometry), geometry, shape)[DEPTH]
        inside = ndimage.binary_erosion(scene.cell_mask[DEPTH], iterations=6)  # without the membrane
        cells[name] = volume, inside
        write_mrc(out / f"{name.replace(' ', '_')}.mrc", volume, PIXEL)
        write_mrc(out / f"{name.replace(' ', '_')}_series.mrc", imaged.tilt_series, PIXEL)
        ours = scaled_to(series_statistics(imaged.tilt_series), real)
        figures[name] = folds(ours, real)
        print(f"\n{name}\n{tables(reported.tilts_deg, real, ours)}\n\nlargest factors: {json.dumps(figures[name])}")
    if picture is not None:
        crop = slice(CROP[1], CROP[1] + 448), slice(CROP[2], CROP[2] + 448)
        beside(recorded[:, *crop], cells["physics"][0][:, *crop], picture)
    with tempfile.TemporaryDirectory() as scratch:  # a checkpoint of an earlier run is of no use
        figures["auc"] = aucs(cells, Path(scratch), effort)
    (out / "realism.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def aucs(cells: dict[str, tuple[Volume, Mask]], scratch: Path, effort: Effort) -> dict[str, float]:
    """Of every pair that is of interest."""
    volume, inside = cells["recorded"]
    # the two sides of the recorded cell, by the middle of every row
    middle = np.array([np.median(np.flatnonzero(row)) if row.any() else 0 for row in inside[0]])
    left = inside & (np.arange(inside.shape[2]) < middle[:, None])
    pairs = {
        "real against simulated": (cells["recorded"], cells["physics"]),
        "real against simulated, matched": (cells["recorded"], cells["matched"]),
        "control: left against right side of the real cell": ((volume, left), (volume, inside & ~left)),
        "control: simulated against another simulated": (cells["physics"], cells["another cell"]),
    }
    found = {}
    for at, (name, (one, other)) in enumerate(pairs.items()):
        found[name] = round(separability(one, other, scratch / f"critic_{at}", effort), 3)
        print(f"AUC, {name}: {found[name]:.3f} ({effort.steps} steps of {2 * effort.batch} crops)", flush=True)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with 00254_stack_f16.mrc and its side files")
    parser.add_argument("--structures", type=Path, help="with maps/10A/4v4r.mrc*; default: two folders up")
    parser.add_argument("--out", type=Path, default=Path("runs/realism"))
    parser.add_argument("--picture", type=Path, help="PNG of slices side by side")
    parser.add_argument("--steps", type=int, default=Effort.steps, help="of training each network")
    settings = parser.parse_args()
    structures = settings.structures or settings.folder.resolve().parents[1]
    effort = Effort(steps=settings.steps)
    run(settings.folder, structures, settings.out, picture=settings.picture, effort=effort)


if __name__ == "__main__":
    main()
