"""The loop: resume is exact, seeds decide, bad gradients are skipped, interruptions leave a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from cryoembed.errors import InputError
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import batches_ahead
from cryoembed.training.fit import fit
from cryoembed.training.loop import FitResult
from cryoembed.training.state import Progress

CONFIG = TrainConfig(
    steps=30, learning_rate=0.02, warmup_steps=3, checkpoint_every=7, log_every=5, precision="fp32", device="cpu"
)


class Toy(nn.Module):
    """Learns to blur: convolution, batch normalisation and dropout, so that buffers and random state matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Dropout(0.1), nn.Conv3d(4, 1, 3, padding=1)
        )

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = self.layers(batch["input"])
        return {"loss": nn.functional.mse_loss(hidden, batch["target"]), "embeddings": hidden.flatten(1).detach()}


def draw(generator: np.random.Generator, number: int) -> dict[str, Tensor]:
    volume = torch.from_numpy(generator.standard_normal((2, 1, 8, 8, 8), dtype=np.float32))
    return {"input": volume, "target": nn.functional.avg_pool3d(volume, 3, 1, 1)}


def train(folder: Path, config: TrainConfig = CONFIG, stop_after: int | None = None) -> tuple[FitResult, str]:
    torch.manual_seed(config.seed)
    toy = Toy()
    result = fit(toy, draw, config, folder=folder, stop_after=stop_after)
    digest = hashlib.sha256()
    for name, value in toy.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return result, digest.hexdigest()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, optimizer: str) -> None:
    config = CONFIG.model_copy(update={"optimizer": optimizer, "accumulate": 2, "ema_decay": 0.9})
    _, whole = train(tmp_path / "whole", config)
    first, _ = train(tmp_path / "parts", config, stop_after=13)
    assert first.stopped
    assert first.steps == 13
    second, parts = train(tmp_path / "parts", config)
    assert not second.stopped
    assert parts == whole
    files = [(tmp_path / run / "checkpoint.safetensors").read_bytes() for run in ("whole", "parts")]
    assert files[0] == files[1]


def test_same_seed_gives_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 5})
    assert train(tmp_path / "a", config)[1] == train(tmp_path / "b", config.model_copy(update={"workers": 2}))[1]
    assert train(tmp_path / "a", config)[1] != train(tmp_path / "c", config.model_copy(update={"seed": 1}))[1]


def test_loss_falls_and_log_has_one_line_per_five_steps(tmp_path: Path) -> None:
    train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    assert {"learning_rate", "spread", "gradient_norm", "skipped"} <= set(lines[0])


def test_resume_rewrites_the_log_lines_it_does_again(tmp_path: Path) -> None:
    train(tmp_path, stop_after=13)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 20, "loss": 99.0}\n{"step": 1')
    train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30]
    assert all(line["loss"] < 99 for line in lines)
    train(tmp_path / "whole")
    whole = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    timing = {"steps_per_s": 0}
    assert [line | timing for line in lines] == [line | timing for line in whole]


def test_step_with_non_finite_gradient_is_skipped_and_counted(tmp_path: Path) -> None:
    calls = iter(range(100))

    def sometimes_broken(generator: np.random.Generator, number: int) -> dict[str, Tensor]:
        batch = draw(generator, 0)
        if next(calls) == 3:
            batch["target"][0] = torch.inf
        return batch

    toy = Toy()
    result = fit(toy, sometimes_broken, CONFIG, folder=tmp_path)
    assert result.skipped_steps == 1
    assert all(torch.isfinite(p).all() for p in toy.parameters())


class BrokenBackward(Toy):
    """A finite loss whose gradients are not."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        terms = super().forward(batch)
        terms["loss"].register_hook(lambda gradient: gradient * torch.nan)
        return terms


def test_training_that_only_skips_is_stopped_with_a_remedy(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 100})
    with pytest.raises(InputError, match=r"diverged: 50 steps.*learning_rate"):
        fit(BrokenBackward(), draw, config, folder=tmp_path)


def test_loss_that_stays_nan_stops_names_its_batch_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    def broken_from_ten(generator: np.random.Generator, number: int) -> dict[str, Tensor]:
        batch = draw(generator, number)
        if number >= 10:
            batch["input"][0, 0, 0, 0, 0] = torch.nan
        return batch

    toy = Toy()
    message = (
        r"stopped at step 13: .* 3 times in a row; .* not finite: loss; batch 12 .*\(0, 0, 12\).*'input' holds NaN"
    )
    with pytest.raises(InputError, match=message + r".*last good checkpoint, of step 7, is kept"):
        fit(toy, broken_from_ten, CONFIG.model_copy(update={"log_every": 1}), folder=tmp_path)
    assert all(value.isfinite().all() for value in toy.state_dict().values())  # running statistics, too
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == 7
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines[-2:]] == [1, 2]
    assert "batch 11" in lines[-1]["warnings"][0]


def test_average_is_what_remains_and_the_checkpoint_has_the_last_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, averaged = Toy(), Toy()
    averaged.load_state_dict(plain.state_dict())
    names = [name for name, _ in plain.named_parameters()]
    expected = {name: value.detach().clone() for name, value in plain.named_parameters()}
    for done in range(3):  # the same steps one by one, averaged by hand
        torch.manual_seed(1)
        fit(plain, draw, CONFIG, folder=tmp_path / "plain", stop_after=done + 1)
        decay = min(0.5, (1 + done) / (10 + done))
        for name, value in plain.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()
    torch.manual_seed(1)
    # the schedule of 30 steps, of which 3 are done
    fit(averaged, draw, CONFIG.model_copy(update={"ema_decay": 0.5}), folder=tmp_path / "ema", stop_after=3)
    with safe_open(tmp_path / "ema" / "checkpoint.safetensors", framework="pt") as file:
        for name in names:
            torch.testing.assert_close(file.get_tensor(f"average.{name}"), expected[name], atol=1e-6, rtol=1e-5)
            assert torch.equal(file.get_tensor(f"model.{name}"), plain.state_dict()[name])
    fit(averaged, draw, CONFIG.model_copy(update={"ema_decay": 0.5}), folder=tmp_path / "ema")
    with safe_open(tmp_path / "ema" / "checkpoint.safetensors", framework="pt") as file:
        for name, value in averaged.state_dict().items():
            assert torch.equal(value, file.get_tensor(f"average.{name}"))
        assert not torch.equal(file.get_tensor(f"average.{names[0]}"), file.get_tensor(f"model.{names[0]}"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_of_slurm_leave_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    result = fit(Toy(), draw, CONFIG, folder=tmp_path, advance=lambda _: os.kill(os.getpid(), number))
    assert (result.stopped, result.steps) == (True, 1)
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_checkpoint_of_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Progress.model_fields["schema_version"], "default", 1)
        Progress.model_rebuild(force=True)
        train(tmp_path, stop_after=2)
    Progress.model_rebuild(force=True)
    with pytest.raises(InputError, match="schema version 1, this cryoembed reads 2"):
        train(tmp_path)


def test_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    train(tmp_path, stop_after=2)
    wider = Toy()
    wider.layers[4] = nn.Conv3d(4, 2, 3, padding=1)
    with pytest.raises(InputError, match=r"another architecture: layers\.4\.bias has shape \(1,\) there, \(2,\) here"):
        fit(wider, draw, CONFIG, folder=tmp_path)


def test_interruption_writes_a_checkpoint_and_stops(tmp_path: Path) -> None:
    def press_at(step: float, done: list[float]) -> None:
        done.append(step)
        if len(done) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    done: list[float] = []
    result = fit(Toy(), draw, CONFIG, folder=tmp_path, advance=lambda n: press_at(n, done))
    assert result.stopped
    assert result.steps == 4
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path, stop_after=2)
    with pytest.raises(InputError, match=r"learning_rate: 0.02 then, 0.5 now"):
        train(tmp_path, CONFIG.model_copy(update={"learning_rate": 0.5}))


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(tmp_path, stop_after=2)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="not readable"):
        train(tmp_path)


def test_threads_that_draw_ahead_keep_the_order() -> None:
    seeds = [(0, n) for n in range(9)]
    numbers = [[float(b["input"].sum()) for b in batches_ahead(draw, seeds, workers=w)] for w in (0, 3)]
    assert numbers[0] == numbers[1]
