"""What template matching makes of boxes at true centres, when it knows every species' true map: a near-oracle.

    python -m tests.benchmark.true_maps ../shared/data --snr 0.5 0.1

Each box is compared with each map in all orientations (local correlation under a sphere around the map, wedge and a
contrast transfer of mean defocus included). A species' score is the gain of likelihood over nothing being there,
``-n log(1 - r^2) / 2`` with n voxels under its mask; the best names the box, unless none beats the ``background`` threshold,
the 95th percentile of empty boxes' best scores. AP ranks by r alone. Tomograms are those of `unseen_species`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.config import load_config
from cryoembed.evaluate.retrieval import average_precision
from cryoembed.evaluate.table import as_text
from cryoembed.matching.template import probe
from cryoembed.preprocess.config import InputConfig
from cryoembed.rotations import grid
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.structure_spec import expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Template
from tests.benchmark.datasets import CONFIGS
from tests.benchmark.few_shot import BACKGROUND, FewShotScore
from tests.benchmark.unseen_species import SNRS, boxes_of, dataset, rows_of

TILT_MAX_DEG, DEFOCUS_UM, WAVELENGTH, AMPLITUDE_CONTRAST = 60.0, 3.5, 0.0197, 0.06
BATCH = 256


def maps(structures: Path) -> list[Template]:
    """The benchmark's species at its voxel size."""
    config = load_config(DatasetConfig, CONFIGS / "simulate_mini_shrec.yaml")
    specs = [one for spec in config.structures for one in expand(spec, structures)]
    return [structure_template(spec, config.voxel_size) for spec in specs]


def contrast_transfer(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of the samples' mean defocus, over cycles per voxel of 10 A; spherical aberration is nothing at 20 A."""
    squared = (frequency / 10.0) ** 2
    phase = np.pi * WAVELENGTH * DEFOCUS_UM * 1e4 * squared + np.arcsin(AMPLITUDE_CONTRAST)
    return np.asarray(np.sin(phase))


def correlations(boxes: npt.NDArray[np.float32], template: Template, step_deg: float) -> tuple[npt.NDArray, int]:
    """(n,) largest Pearson's r of each box's centre with the map in any orientation, and the voxels compared."""
    radius = min(template.radius / template.voxel_size + 1.0, boxes.shape[1] / 2 - 1)
    ready = probe(template.density, mask_radius_vox=radius, tilt_max_deg=TILT_MAX_DEG, ctf=contrast_transfer)
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
    asked = parser.parse_args()
    templates = maps(asked.structures)
    for snr in asked.snr:
        models = dataset(asked.out, asked.structures, SNRS[snr], split="test", models=asked.models)
        volume = "clean" if snr == "clean" else "reconstruction"
        boxes, labels, masses = boxes_of(models, volume, InputConfig())
        start = time.process_time()
        found = [correlations(boxes, template, asked.step) for template in templates]
        seconds = (time.process_time() - start) / len(boxes) * 1000
        score = _score(found, np.array([template.name for template in templates]), labels)
        print(f"\nsnr_particle {snr}")
        print(as_text([rows_of("true maps", seconds, {5: score}, masses)]), flush=True)


def _score(found: list[tuple[npt.NDArray, int]], names: npt.NDArray[np.str_], labels: npt.NDArray) -> FewShotScore:
    gain = np.stack([-0.5 * count * np.log(1 - np.clip(r, 0, 0.999) ** 2) for r, count in found], axis=1)
    called = names[gain.argmax(axis=1)]
    empty = labels == BACKGROUND
    called[gain.max(axis=1) < np.percentile(gain[empty].max(axis=1), 95)] = BACKGROUND
    f1 = {
        str(name): float(
            2 * np.sum((called == name) & (labels == name)) / (np.sum(called == name) + np.sum(labels == name))
        )
        for name in names
    }
    ap = {str(name): average_precision(labels == name, r) for name, (r, _) in zip(names, found, strict=True)}
    return FewShotScore(f1, ap)


if __name__ == "__main__":
    main()
