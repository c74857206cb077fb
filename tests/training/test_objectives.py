"""Objectives: each trains what it should and nothing else; losses fall on a toy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit
from cryoembed.training.objectives.contrastive import Contrastive
from cryoembed.training.objectives.heads import Heads
from cryoembed.training.objectives.siamese import DenseSimSiam, SimSiam

VOXEL = VoxelNetworkConfig(
    backbone=BackboneConfig(width=4, blocks=(1, 1), stem_kernel=3),
    pyramid_channels=4,
    global_dim=8,
    voxel_dim=8,
    heads=("denoise", "instance"),
    head_channels=4,
)
SUBTOMOGRAM = SubtomogramNetworkConfig(
    backbone=BackboneConfig(width=4, blocks=(1, 1), stem_stride=2), embedding_dim=8, box_vox=8
)


def targets(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
    clean = torch.zeros(2, 1, 12, 12, 12)
    for volume in clean:
        z, y, x = generator.integers(1, 7, size=3)
        volume[0, z : z + 4, y : y + 4, x : x + 4] = 1
    noise = torch.from_numpy(generator.standard_normal(tuple(clean.shape), dtype=np.float32))
    return {
        "input": clean * 3 + 0.3 * noise,
        "clean": clean,
        "distance": clean,
        "boundary": clean * 0,
        "foreground": clean,
    }


def boxes(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
    label = torch.arange(4).repeat_interleave(3)
    ramp = torch.linspace(-1, 1, 8)
    shapes = torch.stack([ramp.expand(8, 8, 8) * scale for scale in (3.0, 1.0, -1.0, -3.0)])
    noise = torch.from_numpy(generator.standard_normal((12, 8, 8, 8), dtype=np.float32))
    return {"input": (shapes[label] + 0.3 * noise)[:, None], "label": label}


def test_head_losses_fall_in_thirty_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective = Heads(build(VOXEL), ("denoise", "instance"), freeze_encoder=False)
    start = objective(targets(np.random.default_rng(9)))
    config = TrainConfig(steps=30, learning_rate=0.02, gradient_clip=5.0, precision="fp32", device="cpu")
    fit(objective, targets, config, folder=tmp_path)
    end = objective(targets(np.random.default_rng(9)))
    assert float(end["loss"]) < 0.5 * float(start["loss"])
    assert float(end["foreground_recall"]) > 0.5


def test_contrastive_loss_falls_and_purity_rises(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective = Contrastive(build(SUBTOMOGRAM), temperature=0.1)
    start = float(objective(boxes(np.random.default_rng(9)))["loss"])
    result = fit(
        objective, boxes, TrainConfig(steps=30, learning_rate=0.01, precision="fp32", device="cpu"), folder=tmp_path
    )
    assert float(objective(boxes(np.random.default_rng(9)))["loss"]) < start - 0.2
    assert result.metrics["purity"] > 0.6


def test_frozen_encoder_does_not_change_at_all(tmp_path: Path) -> None:
    network = build(VOXEL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = TrainConfig(steps=3, precision="fp32", device="cpu")
    fit(Heads(network, ("denoise",), freeze_encoder=True), targets, config, folder=tmp_path)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("heads.denoise.") for name in changed)


def test_dense_simsiam_terms_start_near_zero_and_reach_every_part() -> None:
    torch.manual_seed(0)
    network = build(VOXEL.model_copy(update={"heads": ()}))
    whole = torch.tensor([[[0, 12]] * 3] * 2)
    view = torch.randn(2, 1, 12, 12, 12)
    terms = DenseSimSiam(network)({"view_a": view, "view_b": view, "overlap_a": whole, "overlap_b": whole})
    terms["loss"].backward()
    assert float(terms["loss"]) == pytest.approx(float(terms["global"] + terms["dense"] + terms["level"]), rel=1e-5)
    assert -3 <= float(terms["loss"]) <= 3
    assert terms["embeddings"].shape[1] == 8
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_simsiam_reaches_every_part() -> None:
    network = build(SUBTOMOGRAM)
    batch = boxes(np.random.default_rng(0))
    SimSiam(network)({"view_a": batch["input"], "view_b": batch["input"]})["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
