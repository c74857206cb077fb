"""What template matching makes of boxes at true centres, when it knows every species' true map: a near-oracle.

    python -m tests.benchmark.true_maps ../shared/data --snr 0.5 0.1

Each box is compared with each map in all orientations (local correlation under a sphere around the map, wedge and
contrast transfer of its tomogram's defocus included). A species' score is the gain of likelihood over nothing being
there, ``-n log(1 - r^2) / 2`` with n voxels under its mask; the best names the box, unless it stays below the best score of
``examples`` empty boxes, drawn ten times and never scored, as `unseen_species` draws its own. AP ranks by r alone, over all
boxes. Tomograms are those of `unseen_species`. With ``--flatten`` maps and tomograms are compared with flattened spectra
(`cryoembed.preprocess.spectrum`).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.config import load_config
from cryoembed.evaluate.classification import score_classes
from cryoembed.evaluate.retrieval import average_precision
from cryoembed.evaluate.table import as_text
from cryoembed.io import read_tomogram
from cryoembed.matching.template import Transfer, probe
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.preprocess.spectrum import flattening, measured_power
from cryoembed.rotations import grid
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.structure_spec import expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Template
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.few_shot import BACKGROUND, FewShotScore
from tests.benchmark.unseen_species import SNRS, boxes_of, dataset, rows_of

TILT_MAX_DEG, WAVELENGTH, AMPLITUDE_CONTRAST = 60.0, 0.0197, 0.06
BATCH, DRAWS = 256, 10


def maps(structures: Path, *, voxel_size: float | None = None) -> list[Template]:
    """The benchmark's species, at its own voxel size (A) or another."""
    config = load_config(DatasetConfig, CONFIGS / "simulate_mini_shrec.yaml")
    specs = [one for spec in config.structures for one in expand(spec, structures)]
    return [structure_template(spec, voxel_size or config.voxel_size) for spec in specs]


def defocus_um(model: Path) -> float:
    """Mean defocus of a simulated model, as anybody who matches templates knows it."""
    return float(json.loads((model / "model.json").read_text())["defocus_um"])


def contrast_transfer(defocus: float, voxel_size: float) -> Transfer:
    """At a defocus (um), over cycles per voxel; spherical aberration is nothing at 20 A."""

    def at(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        phase = np.pi * WAVELENGTH * defocus * 1e4 * (frequency / voxel_size) ** 2 + np.arcsin(AMPLITUDE_CONTRAST)
        return np.asarray(np.sin(phase))

    return at


def flattened(model: Path, volume: str, transfer: Transfer) -> Transfer:
    """The transfer function of a model's flattened tomogram."""
    power = measured_power(prepare(read_tomogram(model / f"{volume}.mrc"), InputConfig()).tomogram.data)
    along = np.arange(33)
    amplitude = flattening(power, (64, 64, 64))[along, along, along]  # a diagonal has all frequencies

    def at(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return transfer(frequency) * np.interp(frequency, along * np.sqrt(3) / 64, amplitude)

    return at


def correlations(
    boxes: npt.NDArray[np.float32], template: Template, step_deg: float, ctf: Transfer
) -> tuple[npt.NDArray, int]:
    """(n,) largest Pearson's r of each box's centre with the map in any orientation, and the voxels compared."""
    radius = min(template.radius / template.voxel_size + 1.0, boxes.shape[1] / 2 - 1)
    ready = probe(template.density, mask_radius_vox=radius, tilt_max_deg=TILT_MAX_DEG, ctf=ctf)
    middle, reach = boxes.shape[1] // 2, ready.reach
    inner = slice(middle - reach, middle + reach + 1)
    seen = boxes[:, inner, inner, inner][:, ready.mask]
    seen = seen - seen.mean(axis=1, keepdims=True)
    seen /= np.maximum(seen.std(axis=1, keepdims=True), 1e-9)
    best = np.full(len(boxes), -1.0)
    turns = grid(step_deg)
    for start in range(0, len(turns), BATCH):
        kernels = np.stack([ready.kernel(turn)[ready.mask] for turn in turns[start : start + BATCH]], axis=1)
        best = np.maximum(best, (seen @ kernels).max(axis=1))
    return best, int(ready.mask.sum())


def main() -> None:
    """Print F1 and AP at each SNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/unseen_species"))
    parser.add_argument("--snr", nargs="+", default=["0.5", "0.1"], choices=list(SNRS))
    parser.add_argument("--step", type=float, default=18.0, help="degrees between orientations")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--flatten", action="store_true", help="spectra made flat, of tomograms and maps alike")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 10, 20], help="empty boxes of the threshold")
    asked = parser.parse_args()
    templates = maps(asked.structures)
    for snr in asked.snr:
        models = dataset(asked.out, asked.structures, SNRS[snr], split="test", models=asked.models)
        volume = "clean" if snr == "clean" else "reconstruction"
        inputs = InputConfig(flatten=asked.flatten)
        everything = [boxes_of([model], volume, inputs, first=index) for index, model in enumerate(models)]
        transfers = [contrast_transfer(defocus_um(model), templates[0].voxel_size) for model in models]
        if asked.flatten:
            transfers = [flattened(model, volume, one) for model, one in zip(models, transfers, strict=True)]
        labels = np.concatenate([labels for _, labels, _ in everything])
        masses = {name: mass for _, _, of in everything for name, mass in of.items()}
        start = time.process_time()
        found = []
        for template in templates:
            parts = [
                correlations(boxes, template, asked.step, transfer)
                for (boxes, _, _), transfer in zip(everything, transfers, strict=True)
            ]
            found.append((np.concatenate([r for r, _ in parts]), parts[0][1]))
        seconds = (time.process_time() - start) / len(labels) * 1000
        names = np.array([template.name for template in templates], dtype=object)
        scores = {n: _score(found, names, labels, examples=n) for n in asked.examples}
        print(f"\nsnr_particle {snr}")
        name = "true maps, flattened" if asked.flatten else "true maps"
        print(as_text([rows_of(name, seconds, scores, masses)]), flush=True)


def _score(
    found: list[tuple[npt.NDArray, int]], names: npt.NDArray, labels: npt.NDArray, *, examples: int
) -> FewShotScore:
    gain = np.stack([-0.5 * count * np.log(1 - np.clip(r, 0, 0.999) ** 2) for r, count in found], axis=1)
    best, called = gain.max(axis=1), names[gain.argmax(axis=1)]
    generator = np.random.default_rng([0, examples])
    found_f1: list[list[float]] = []
    for _ in range(DRAWS):
        shown = generator.choice(np.flatnonzero(labels == BACKGROUND), examples, replace=False)
        rest = np.setdiff1d(np.arange(len(labels)), shown)
        named = np.where(best[rest] > best[shown].max(), called[rest], BACKGROUND)
        scores = score_classes(named, labels[rest]).per_class
        found_f1.append([scores[name].f1 for name in names])
    ap = {name: average_precision(labels == name, r) for name, (r, _) in zip(names, found, strict=True)}
    return FewShotScore(dict(zip(names, np.mean(found_f1, axis=0).tolist(), strict=True)), ap)


if __name__ == "__main__":
    main()
