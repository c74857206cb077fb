"""Can a small network tell real from simulated crops? How well, as the area under its ROC curve (AUC).

Crops lie inside of the cell in both volumes, for empty ice would give either away; each has mean 0 and s.d. 1. The
network is trained on one half of both volumes along y and tested on the other half, with a gap between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit

EDGE = 64
Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Effort:
    """How hard the network tries.

    Attributes
    ----------
    batch, test_crops
        Crops of either kind, per step and in all.
    """

    steps: int = 120
    batch: int = 8
    test_crops: int = 200
    edge: int = EDGE
    seed: int = 0


class Critic(nn.Module):
    """Tells real (1) from simulated (0) crops; as an objective it returns its loss.

    Batch normalisation, not that of each sample: how strong detail of a size is in a crop is what tells most.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 8, 16, 32, 32)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(widths[-1], 1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean binary cross-entropy."""
        scores = self.layers(batch["input"])[:, 0]
        return {"loss": nn.functional.binary_cross_entropy_with_logits(scores, batch["real"])}


def corners(mask: Mask, edge: int, rows: tuple[int, int]) -> npt.NDArray[np.int64]:
    """(n, 3) first voxels of the cubes that lie in the mask with y inside of the rows."""
    inside = mask.copy()
    inside[:, : rows[0]] = inside[:, rows[1] :] = False
    for axis in range(3):  # how many of the next voxels along each axis are inside, one axis after the other
        total = np.cumsum(inside, axis=axis, dtype=np.int32)
        ends = [slice(None)] * 3
        ends[axis] = slice(edge - 1, None)
        count = total[tuple(ends)].copy()
        later, earlier = list(ends), list(ends)
        later[axis], earlier[axis] = slice(1, None), slice(None, -edge)
        count[tuple(later)] -= total[tuple(earlier)]
        inside = count == edge
    found = np.argwhere(inside)
    if not len(found):
        raise ValueError(f"no cube of {edge} voxels lies inside of the mask in rows {rows}")
    return found


def crops(volume: Volume, starts: npt.NDArray[np.int64], count: int, edge: int, chance: np.random.Generator) -> Volume:
    """(count, 1, edge, edge, edge) crops at random starts, each of mean 0 and s.d. 1."""
    found = []
    for z, y, x in starts[chance.integers(len(starts), size=count)]:
        crop = np.asarray(volume[z : z + edge, y : y + edge, x : x + edge], dtype=np.float32)
        found.append((crop - crop.mean()) / crop.std())
    return np.stack(found)[:, None]


def separability(
    real: tuple[Volume, Mask], simulated: tuple[Volume, Mask], folder: Path, effort: Effort | None = None
) -> float:
    """AUC of a `Critic` on the lower half (y) of both volumes, trained on their upper halves."""
    effort = Effort() if effort is None else effort
    middle = real[0].shape[1] // 2
    halves = {"train": (0, middle - effort.edge // 4), "test": (middle + effort.edge // 4, real[0].shape[1])}
    starts = {
        name: [corners(mask, effort.edge, rows) for _, mask in (real, simulated)] for name, rows in halves.items()
    }
    labels = torch.from_numpy(np.repeat([1.0, 0.0], effort.batch).astype(np.float32))

    def draw(chance: np.random.Generator, _: int) -> dict[str, Tensor]:
        parts = [
            crops(volume, places, effort.batch, effort.edge, chance)
            for (volume, _), places in zip((real, simulated), starts["train"], strict=True)
        ]
        return {"input": torch.from_numpy(np.concatenate(parts)), "real": labels}

    torch.manual_seed(effort.seed)
    critic = Critic()
    steps = effort.steps
    config = TrainConfig(
        steps=steps, learning_rate=2e-3, warmup_steps=min(20, steps - 1), workers=1, seed=effort.seed,
        checkpoint_every=steps, device="cpu", precision="fp32",
    )  # fmt: skip
    fit(critic, draw, config, folder=folder)
    critic.eval()
    chance, scores = np.random.default_rng(effort.seed + 1), []
    with torch.inference_mode():
        for (volume, _), places in zip((real, simulated), starts["test"], strict=True):
            unseen = torch.from_numpy(crops(volume, places, effort.test_crops, effort.edge, chance))
            scores.append(torch.cat([critic.layers(part)[:, 0] for part in unseen.split(20)]))
    truth = np.repeat([1, 0], effort.test_crops)
    return float(roc_auc_score(truth, torch.cat(scores).float().numpy()))
