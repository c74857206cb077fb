"""Objectives: each trains what it should and nothing else; losses fall on a toy."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cryoembed.losses.contrastive import nt_xent
from cryoembed.losses.cosine import negative_cosine
from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.semantic import IGNORED
from cryoembed.training.collapse import COLLAPSED_BELOW
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit
from cryoembed.training.objectives import siamese
from cryoembed.training.objectives.contrastive import Contrastive, Refinement, SimCLR
from cryoembed.training.objectives.heads import Frozen, Heads
from cryoembed.training.objectives.recall import RecallTally
from cryoembed.training.objectives.shapes import shape_descriptors
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


def test_proxies_turn_to_their_classes_and_stay_out_of_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(SUBTOMOGRAM)
    objective = Contrastive(network, temperature=0.1, classes=4)
    result = fit(
        objective, boxes, TrainConfig(steps=40, learning_rate=0.01, precision="fp32", device="cpu"), folder=tmp_path
    )
    batch = boxes(np.random.default_rng(9))
    assert objective.proxies is not None
    cosines = network.eval().embed(batch["input"]) @ nn.functional.normalize(objective.proxies, dim=1).T
    # boxes are standardised: the sign of the ramp is easily seen, its height only by the noise
    torch.testing.assert_close(cosines.argmax(dim=1) // 2, batch["label"] // 2)
    assert result.metrics["proxy"] < 1.2  # of log 4 = 1.39 without learning
    assert "proxies" not in network.state_dict()


def test_shapes_are_read_from_vectors_and_their_reader_stays_out_of_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(SUBTOMOGRAM)
    shapes = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 0.5]])  # the fourth class is of nothing: it has none
    objective = Contrastive(network, temperature=0.1, shapes=shapes, shape_weight=20.0)
    config = TrainConfig(steps=40, learning_rate=0.01, precision="fp32", device="cpu")
    result = fit(objective, boxes, config, folder=tmp_path)
    assert result.metrics["shape"] < 0.5  # 1 for a constant that is 0
    assert not any("shape" in name for name in network.state_dict())
    assert "shapes" not in objective.state_dict()  # made of the settings again


def test_boxes_of_nothing_alone_have_no_shape_error() -> None:
    network = build(SUBTOMOGRAM)
    batch = boxes(np.random.default_rng(0))
    batch["label"] = torch.full_like(batch["label"], 7)
    terms = Contrastive(network, temperature=0.1, shapes=torch.ones(3, 2))(batch)
    assert float(terms["shape"]) == 0
    terms["loss"].backward()


def test_shape_descriptors_are_of_the_class_not_of_its_orientation() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.zeros(6, 16, 16, 16)
    classes[:, 4:13, 4:13, 4:13] = torch.nn.functional.avg_pool3d(
        torch.rand(6, 18, 18, 18, generator=generator) ** 8, 2
    )
    turned = torch.roll(torch.flip(classes, (2, 3)), (1, 1), (2, 3))  # half a turn that keeps index n // 2
    one, other = shape_descriptors(torch.stack([classes]), 3), shape_descriptors(torch.stack([turned]), 3)
    assert one.shape == (6, 3)
    torch.testing.assert_close(one.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(one @ one.T, other @ other.T, atol=1e-3, rtol=1e-3)  # components have no sign
    assert torch.pdist(one).min() > 0.1


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


def test_dense_simsiam_without_a_global_embedding_learns_from_the_rest() -> None:
    torch.manual_seed(0)
    network = build(VOXEL.model_copy(update={"heads": (), "global_dim": 0}))
    whole = torch.tensor([[[0, 12]] * 3] * 2)
    view = torch.randn(2, 1, 12, 12, 12)
    terms = DenseSimSiam(network)({"view_a": view, "view_b": view, "overlap_a": whole, "overlap_b": whole})
    terms["loss"].backward()
    assert float(terms["global"]) == 0
    assert float(terms["loss"]) == pytest.approx(float(terms["dense"] + terms["level"]), rel=1e-5)
    assert not any(name.startswith("global") for name in network.state_dict())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_simsiam_reaches_every_part() -> None:
    network = build(SUBTOMOGRAM)
    batch = boxes(np.random.default_rng(0))
    SimSiam(network)({"view_a": batch["input"], "view_b": batch["input"]})["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_refinement_draws_classes_together_and_pushes_rivals_beyond_the_margin(tmp_path: Path) -> None:
    def triplets(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
        drawn = boxes(generator)
        order = torch.tensor([0, 3, 6, 9, 1, 4, 7, 10, 3, 0, 9, 6])  # anchors, positives, negatives
        return {name: value[order] for name, value in drawn.items()}

    torch.manual_seed(0)
    network = build(SUBTOMOGRAM)
    objective = Refinement(network, margin=1.0, temperature=0.1)
    start = float(objective(triplets(np.random.default_rng(9)))["loss"])
    config = TrainConfig(steps=30, learning_rate=0.01, precision="fp32", device="cpu")
    fit(objective, triplets, config, folder=tmp_path)
    assert float(objective(triplets(np.random.default_rng(9)))["loss"]) < 0.5 * start


def test_simclr_loss_falls(tmp_path: Path) -> None:
    def views(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
        drawn = boxes(generator)["input"][torch.tensor([0, 3, 6, 9, 1, 4, 7, 10])]
        return {"view_a": drawn[:4], "view_b": drawn[4:]}

    torch.manual_seed(0)
    objective = SimCLR(build(SUBTOMOGRAM), temperature=0.2)
    start = float(objective(views(np.random.default_rng(9)))["loss"])
    config = TrainConfig(steps=30, learning_rate=0.01, precision="fp32", device="cpu")
    fit(objective, views, config, folder=tmp_path)
    assert float(objective(views(np.random.default_rng(9)))["loss"]) < start - 0.2


@pytest.mark.parametrize("kind", [Contrastive, partial(Refinement, margin=1.0)])
def test_real_boxes_never_meet_labels(kind: Callable[..., torch.nn.Module]) -> None:
    torch.manual_seed(0)
    objective = kind(build(SUBTOMOGRAM), temperature=0.1, real_weight=2.0).eval()  # boxes do not meet in statistics
    labelled = boxes(np.random.default_rng(0))
    real = {"real_a": torch.randn(3, 1, 8, 8, 8), "real_b": torch.randn(3, 1, 8, 8, 8)}
    alone, both = objective(labelled), objective(labelled | real)
    torch.testing.assert_close(both["labelled"], alone["loss"])
    torch.testing.assert_close(both["purity"], alone["purity"])
    torch.testing.assert_close(both["loss"], both["labelled"] + 2 * both["real"])
    assert len(both["embeddings"]) == len(labelled["input"])
    network = objective.network
    expected = nt_xent(network.project(real["real_a"]), network.project(real["real_b"]), temperature=0.1)
    torch.testing.assert_close(both["real"], expected.detach())


def test_dense_simsiam_with_affine_maps_equals_regions_where_nothing_was_warped() -> None:
    torch.manual_seed(0)
    objective = DenseSimSiam(build(VOXEL.model_copy(update={"heads": ()})))
    views = {"view_a": torch.randn(2, 1, 12, 12, 12), "view_b": torch.randn(2, 1, 12, 12, 12)}
    regions = {"overlap_a": torch.tensor([[[2, 12]] * 3] * 2), "overlap_b": torch.tensor([[[0, 10]] * 3] * 2)}
    affine = torch.cat([torch.eye(3), torch.full((3, 1), -2.0)], dim=1).double()[None].repeat(2, 1, 1)
    one, two = objective(views | regions), objective(views | {"corresponds": affine})
    for name in ("loss", "global", "dense", "level"):
        torch.testing.assert_close(one[name], two[name])


def test_simsiam_without_predictor_and_stop_gradient_is_flagged_as_collapsed(tmp_path, monkeypatch, caplog) -> None:
    def both_ways(predicted_a: Tensor, projected_a: Tensor, predicted_b: Tensor, projected_b: Tensor) -> Tensor:
        return (negative_cosine(predicted_a, projected_b) + negative_cosine(predicted_b, projected_a)) / 2

    def views(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
        noise = generator.standard_normal((2, 24, 1, 8, 8, 8), dtype=np.float32)
        return {"view_a": torch.from_numpy(noise[0]), "view_b": torch.from_numpy(noise[1])}

    torch.manual_seed(0)
    network = build(SUBTOMOGRAM)
    network.predictor = torch.nn.Identity()
    network.projector[-1] = torch.nn.Identity()  # its batch normalisation would centre vectors, a guard of its own
    monkeypatch.setattr(siamese, "symmetric_loss", both_ways)
    config = TrainConfig(steps=40, learning_rate=0.02, precision="fp32", device="cpu", log_every=5)
    result = fit(SimSiam(network), views, config, folder=tmp_path)
    spreads = [json.loads(line)["spread"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert result.metrics["loss"] < -0.99
    assert spreads[0] > COLLAPSED_BELOW > spreads[-1]
    assert "embeddings have collapsed" in caplog.text
