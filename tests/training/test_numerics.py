"""The check at the start: a wrong fast format is found and not used, and nothing is changed by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cryoembed.errors import InputError
from cryoembed.training import memory, numerics
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit
from tests.training.test_fit import CONFIG, Toy, draw


class WrongInBf16(Toy):
    """5 % more loss in bf16."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = super().forward(batch)["loss"]
        return {"loss": loss * (1.05 if torch.is_autocast_enabled("cpu") else 1.0)}


def test_format_that_disagrees_is_not_used_and_the_log_says_so(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 5, "precision": "bf16"})
    fit(WrongInBf16(), draw, config, folder=tmp_path)
    assert "bfloat16, channels last: the first batch has the loss" in (tmp_path / "log.jsonl").read_text()
    batch = draw(np.random.default_rng(0), 0)
    assert numerics.choose_format(WrongInBf16().train(), batch, "bf16", bool)[0] == "fp32"
    assert numerics.choose_format(Toy().train(), batch, "bf16", bool)[0] == "bf16"


def test_looking_changes_neither_statistics_nor_random_numbers() -> None:
    toy = Toy().train()
    before = {name: value.clone() for name, value in toy.state_dict().items()}
    random = torch.get_rng_state()
    numerics.choose_format(toy, draw(np.random.default_rng(0), 0), "bf16", bool)
    assert all(torch.equal(value, before[name]) for name, value in toy.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert toy.layers[3].training


def test_activations_that_a_backward_pass_needs_are_counted_once() -> None:
    layers = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv3d(4, 1, 1))

    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"loss": self.layers(batch["input"]).square().mean()}

    batch = {"input": torch.zeros(2, 1, 8, 8, 8)}
    trial = numerics.try_forward(Objective(), batch, "plain")
    volume = 2 * 8**3 * 4
    assert trial.kept == volume + 4 * volume + volume  # the input, what lies between, the output that is squared
    assert trial.largest == 4 * volume


def test_step_that_cannot_fit_is_refused_with_what_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device, sharing: 600_000)

    def large(generator: np.random.Generator, number: int) -> dict[str, Tensor]:
        volume = torch.zeros(8, 1, 16, 16, 16)
        return {"input": volume, "target": volume}

    with pytest.raises(
        InputError, match=r"at most 1 samples at a time instead of 8.*samples of 8 voxels instead of 16"
    ):
        fit(Toy(), large, CONFIG, folder=tmp_path)


def test_running_out_of_memory_is_answered_with_advice(tmp_path: Path) -> None:
    class Greedy(Toy):
        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            terms = super().forward(batch)
            if not self.training or not hasattr(self, "calls"):
                self.calls = 0
            self.calls += 1
            if self.calls > 5:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
            return terms

    with pytest.raises(InputError, match=r"out of memory in step \d; what may fit: a smaller batch \(at most 1"):
        fit(Greedy(), draw, CONFIG, folder=tmp_path)


def test_recomputed_backbone_has_the_same_gradients_and_statistics_and_keeps_less() -> None:
    from cryoembed.training.objectives.heads import Heads
    from tests.training.test_objectives import VOXEL, build, targets

    torch.manual_seed(0)
    objective = Heads(build(VOXEL), ("denoise", "instance")).train()
    batch, start = targets(np.random.default_rng(0)), objective.state_dict()
    start = {name: value.clone() for name, value in start.items()}
    results, kept = [], []
    for recompute in (False, True):
        objective.load_state_dict(start)
        objective.zero_grad()
        objective.network.backbone.recompute = recompute
        kept.append(numerics.try_forward(objective, batch, "plain").kept)
        objective(batch)["loss"].backward()
        gradients = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
        results.append((gradients, {name: b.clone() for name, b in objective.named_buffers()}))
    for name, gradient in results[0][0].items():
        torch.testing.assert_close(results[1][0][name], gradient)
    assert all(torch.equal(results[1][1][name], buffer) for name, buffer in results[0][1].items())
    assert kept[1] < 0.8 * kept[0]


def test_checkpointing_reaches_the_backbone_through_the_settings(tmp_path: Path) -> None:
    from cryoembed.training.objectives.contrastive import Contrastive
    from tests.training.test_objectives import SUBTOMOGRAM, boxes, build

    objective = Contrastive(build(SUBTOMOGRAM), temperature=0.1)
    config = TrainConfig(steps=1, precision="fp32", device="cpu", checkpoint_gradients=True)
    fit(objective, boxes, config, folder=tmp_path)
    assert objective.network.backbone.recompute
