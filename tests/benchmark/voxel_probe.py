"""What voxel vectors say of a voxel's class: a perceptron of three layers on single vectors, and its Dice elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES
from tests.benchmark.voxel_heads import class_scores

Volume = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]  # (n, d)
Embed = Callable[[Volume], npt.NDArray[np.float32]]  # (z, y, x) -> (d, z, y, x)


class Sample(NamedTuple):
    """A clean tomogram, prepared as network input, and the class of every voxel."""

    volume: Volume
    classes: npt.NDArray[np.uint8]


class ProbeSettings(NamedTuple):
    """Of the perceptron: voxels per training sample, drawn evenly, and one-cycle AdamW without class weights."""

    voxels: int = 30_000
    steps: int = 1200
    batch: int = 2048
    hidden: int = 64
    learning_rate: float = 3e-3


def probe(vectors: Vectors, classes: npt.NDArray[np.integer], settings: ProbeSettings, *, seed: int) -> nn.Module:
    """A perceptron of three layers by cross-entropy on (n, d) vectors of known class; it standardises its input."""
    torch.manual_seed(seed)
    inputs, labels = torch.from_numpy(vectors), torch.from_numpy(np.asarray(classes, dtype=np.int64))
    standard = nn.BatchNorm1d(inputs.shape[1], affine=False, momentum=None)
    standard(inputs)  # its statistics, once
    standard.eval()
    layers = nn.Sequential(
        nn.Linear(inputs.shape[1], settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, len(SEMANTIC_CLASSES)),
    )
    rate, generator = settings.learning_rate, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(layers.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=settings.steps)
    for _ in range(settings.steps):
        chosen = torch.randint(len(inputs), (settings.batch,), generator=generator)
        loss = nn.functional.cross_entropy(layers(standard(inputs[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return nn.Sequential(standard, layers).eval()


def score(
    embed: Embed, training: Sequence[Sample], test: Sequence[Sample], settings: ProbeSettings, *, seed: int = 0
) -> dict[str, float]:
    """Dice by class and "all", means over the test samples; a class counts where it occurs."""
    generator, vectors, classes = np.random.default_rng(seed), [], []
    for sample in training:
        known = np.flatnonzero(sample.classes < IGNORED)
        chosen = generator.choice(known, min(settings.voxels, len(known)), replace=False)
        maps = embed(sample.volume)
        vectors.append(maps.reshape(len(maps), -1)[:, chosen].T)
        classes.append(sample.classes.ravel()[chosen])
    head = probe(np.concatenate(vectors), np.concatenate(classes), settings, seed=seed)
    values: dict[str, list[float]] = {}
    for sample in test:
        for name, value in class_scores(_classified(embed(sample.volume), head), sample.classes).items():
            values.setdefault(name, []).append(value)
    return {name: float(np.mean(each)) for name, each in values.items()}


@torch.inference_mode()
def _classified(maps: npt.NDArray[np.float32], head: nn.Module) -> npt.NDArray[np.uint8]:
    """(z, y, x) classes of (d, z, y, x) embeddings, plane by plane."""
    planes = (torch.from_numpy(np.ascontiguousarray(maps[:, z].reshape(len(maps), -1).T)) for z in range(maps.shape[1]))
    found = [head(plane).argmax(dim=1).numpy().astype(np.uint8) for plane in planes]
    return np.stack(found).reshape(maps.shape[1:])
