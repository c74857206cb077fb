"""Does a simulated tomogram look like a recorded one? EMPIAR-10499 series 00254 beside a simulated cell, in numbers.

    python -m tests.benchmark.realism ../shared/data/tomograms/emp10499 --out runs/realism

Simulates `configs/simulate_cell.yaml` (the acquisition of that series), with the spectrum as the physics gives it and
with it matched ring by ring to the recorded series, and prints

- mean and s.d. of each tilt and the radial power of the untilted image, and by which factor they differ (the unit of
  intensity, one number, is taken from the untilted mean);
- the AUC of a small convolutional network that is told to separate real from simulated crops of 64 voxels, trained on
  one half of both volumes and tested on the other: 0.5 could not tell them apart, 1 always can.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cryoembed.config import load_config
from cryoembed.evaluate.realism import fold, series_statistics
from cryoembed.evaluate.table import as_text
from cryoembed.io.mrc import read_mrc, write_mrc
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.simulate.dataset import simulate_model
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit

CONFIG = Path(__file__).parents[2] / "configs/simulate_cell.yaml"
STACK, CROP = "00254_stack_f16.mrc", "00254_10A_crop.mrc"
START, SHAPE = (72, 96, 96), (96, 448, 448)  # of the recorded crop in its volume
EDGE, STEPS, TEST_CROPS = 64, 300, 400
Volume = npt.NDArray[np.float32]


class Critic(nn.Module):
    """Tells real (1) from simulated (0) crops; as an objective it returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 8, 16, 32, 32)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(widths[-1], 1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean binary cross-entropy."""
        scores = self.layers(batch["input"])[:, 0]
        return {"loss": nn.functional.binary_cross_entropy_with_logits(scores, batch["real"])}


def crops(volume: Volume, count: int, generator: np.random.Generator, y_range: tuple[int, int]) -> Volume:
    """(count, 1, 64, 64, 64) random crops with y inside the range, each of mean 0 and s.d. 1."""
    found = []
    for _ in range(count):
        z, x = (int(generator.integers(size - EDGE + 1)) for size in (volume.shape[0], volume.shape[2]))
        y = int(generator.integers(y_range[0], y_range[1] - EDGE + 1))
        crop = volume[z : z + EDGE, y : y + EDGE, x : x + EDGE].astype(np.float32)
        found.append((crop - crop.mean()) / crop.std())
    return np.stack(found)[:, None]


def separability(real: Volume, simulated: Volume, folder: Path, *, seed: int = 0) -> float:
    """AUC of a `Critic` on the half (along y) of both volumes that it was not trained on."""
    half = real.shape[1] // 2

    def draw(generator: np.random.Generator) -> dict[str, Tensor]:
        parts = [crops(volume, 8, generator, (0, half)) for volume in (real, simulated)]
        labels = np.repeat([1.0, 0.0], 8).astype(np.float32)
        return {"input": torch.from_numpy(np.concatenate(parts)), "real": torch.from_numpy(labels)}

    torch.manual_seed(seed)
    critic = Critic()
    config = TrainConfig(steps=STEPS, learning_rate=2e-3, warmup_steps=20, workers=1, seed=seed, checkpoint_every=STEPS)
    fit(critic, draw, config, folder=folder)
    critic.eval()
    generator, scores = np.random.default_rng(seed + 1), []
    with torch.inference_mode():
        for volume in (real, simulated):
            unseen = crops(volume, TEST_CROPS // 2, generator, (half, volume.shape[1]))
            scores.append(torch.cat([critic.layers(part)[:, 0] for part in torch.from_numpy(unseen).split(20)]))
    truth = np.repeat([1, 0], TEST_CROPS // 2)
    return float(roc_auc_score(truth, torch.cat(scores).float().numpy()))


def as_recorded(reconstruction: Volume, like: npt.NDArray[np.int8]) -> Volume:
    """The recorded crop's part of a volume, stored as it is: 8-bit steps of the same s.d., so that these tell nothing."""
    part = reconstruction[tuple(slice(a, a + n) for a, n in zip(START, SHAPE, strict=True))]
    scaled = (part - part.mean()) * (like.std() / part.std()) + like.mean()
    return np.clip(np.rint(scaled), -128, 127).astype(np.float32)


def main() -> None:
    """Print the tables and keep the volumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/realism"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    recorded, _ = read_mrc(arguments.folder / STACK)
    crop, _ = read_mrc(arguments.folder / CROP)
    real = series_statistics(recorded)
    figures: dict[str, object] = {}
    for name, match in (("physics", None), ("matched", arguments.folder / STACK)):
        config = load_config(SimulateConfig, CONFIG, flags={"out": arguments.out})
        imaging = config.imaging.model_copy(update={"match_spectrum": match})
        _, imaged = simulate_model(config.model_copy(update={"imaging": imaging}), 0)
        write_mrc(arguments.out / f"{name}_series.mrc", imaged.tilt_series, config.voxel_size)
        write_mrc(arguments.out / f"{name}.mrc", imaged.reconstruction, config.voxel_size)
        simulated = series_statistics(imaged.tilt_series)
        middle = len(real.mean) // 2
        simulated = simulated.scaled(real.mean[middle] / simulated.mean[middle])
        every = slice(0, None, 5)
        table = pd.DataFrame(
            {
                "tilt": np.round(np.asarray(imaged.geometry.tilts_deg)[every], 1),
                "mean, real": real.mean[every], "simulated": simulated.mean[every],
                "s.d., real": real.standard_deviation[every], "simulated ": simulated.standard_deviation[every],
            }
        ).round(2)  # fmt: skip
        power = pd.DataFrame({"real": real.power[middle], "simulated": simulated.power[middle]}).round(2).T
        worst = {
            "mean": fold(simulated.mean, real.mean).max(),
            "s.d.": fold(simulated.standard_deviation, real.standard_deviation).max(),
            "power at 0 deg": fold(simulated.power[middle], real.power[middle]).max(),
            "power, all tilts": fold(simulated.power, real.power).max(),
        }
        auc = separability(
            crop.astype(np.float32), as_recorded(imaged.reconstruction, crop), arguments.out / f"critic_{name}"
        )
        print(f"\n{name}\n{as_text(table)}\n\n{as_text(power)}\n")
        print("largest factor between real and simulated: " + ", ".join(f"{k} {v:.2f}" for k, v in worst.items()))
        print(f"AUC real against simulated: {auc:.3f}")
        figures[name] = {**{key: round(float(value), 3) for key, value in worst.items()}, "auc": round(auc, 3)}
    (arguments.out / "realism.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
