"""Objectives: each trains what it should and nothing else; losses fall on a toy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.semantic import IGNORED
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit
from cryoembed.training.objectives.contrastive import Contrastive
from cryoembed.training.objectives.heads import Frozen, Heads
from cryoembed.training.objectives.recall import RecallTally
from cryoembed.training.objectives.siamese import DenseSimSiam, SimSiam

VOXEL = VoxelNetworkConfig(
    backbone=BackboneConfig(width=4, blocks=(1, 1), stem_kernel=3),
    pyramid_channels=4,
    global_dim=8,
    voxel_dim=8,
    heads=("denoise", "instance", "semantic", "lamella"),
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
        "classes": 2 * clean,
        "semantic_distance": clean,
        "inside": clean,
    }


def boxes(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
    label = torch.arange(4).repeat_interleave(3)
    ramp = torch.linspace(-1, 1, 8)
    shapes = torch.stack([ramp.expand(8, 8, 8) * scale for scale in (3.0, 1.0, -1.0, -3.0)])
    noise = torch.from_numpy(generator.standard_normal((12, 8, 8, 8), dtype=np.float32))
    return {"input": (shapes[label] + 0.3 * noise)[:, None], "label": label}


def test_head_losses_fall_in_thirty_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective = Heads(build(VOXEL), VOXEL.heads)
    start = objective(targets(np.random.default_rng(9)))
    config = TrainConfig(steps=30, learning_rate=0.02, gradient_clip=5.0, precision="fp32", device="cpu")
    fit(objective, targets, config, folder=tmp_path)
    end = objective(targets(np.random.default_rng(9)))
    assert float(end["loss"]) < 0.5 * float(start["loss"])
    assert float(end["foreground_recall"]) > 0.5
    assert float(end["recall_membrane"]) > 0.3
    assert "recall_dna" not in end


def test_voxels_without_truth_teach_nothing() -> None:
    torch.manual_seed(0)
    objective = Heads(build(VOXEL), ("semantic", "lamella"))
    batch = targets(np.random.default_rng(0))
    unknown = {name: torch.full_like(batch[name], IGNORED) for name in ("classes", "inside")}
    objective({**batch, **unknown})["loss"].backward()
    gradients = [p.grad for p in objective.network.heads.parameters() if p.grad is not None]
    assert gradients
    assert all(not gradient.any() for gradient in gradients)


def test_class_that_is_never_found_is_warned_of_once_after_the_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    tally = RecallTally(("background", "dna"), quiet=60)
    true = torch.tensor([0] * 50 + [1] * 50)
    for _ in range(99):
        assert float(tally(torch.zeros_like(true), true)["recall_dna"]) == 0
    assert not caplog.records
    for _ in range(101):
        tally(torch.zeros_like(true), true)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["batch 100"]
    assert "class dna" in caplog.text


def test_contrastive_loss_falls_and_purity_rises(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective = Contrastive(build(SUBTOMOGRAM), temperature=0.1)
    start = float(objective(boxes(np.random.default_rng(9)))["loss"])
    result = fit(
        objective, boxes, TrainConfig(steps=30, learning_rate=0.01, precision="fp32", device="cpu"), folder=tmp_path
    )
    assert float(objective(boxes(np.random.default_rng(9)))["loss"]) < start - 0.2
    assert result.metrics["purity"] > 0.6


@pytest.mark.parametrize(
    ("frozen", "trained"), [("all_but_heads", ("heads.denoise.",)), ("encoder", ("heads.denoise.", "pyramid."))]
)
def test_frozen_parts_do_not_change_at_all(tmp_path: Path, frozen: Frozen, trained: tuple[str, ...]) -> None:
    network = build(VOXEL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = TrainConfig(steps=3, precision="fp32", device="cpu")
    fit(Heads(network, ("denoise",), frozen=frozen), targets, config, folder=tmp_path)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith(trained) for name in changed)
    assert all(any(name.startswith(part) for name in changed) for part in trained)


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
