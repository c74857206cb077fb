"""Learning rates at known steps."""

from __future__ import annotations

import pytest
import torch

from cryoembed.training.config import TrainConfig
from cryoembed.training.schedule import learning_rate


def test_warmup_rises_linearly_and_cosine_ends_near_zero() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=0.5)
    assert learning_rate(0, config) == pytest.approx(0.05)
    assert learning_rate(9, config) == pytest.approx(0.5)
    assert learning_rate(10, config) == pytest.approx(0.5)
    assert learning_rate(60, config) == pytest.approx(0.25)
    assert 0 < learning_rate(109, config) < 1e-3


@pytest.mark.parametrize("steps", [20, 101])
def test_one_cycle_equals_torch(steps: int) -> None:
    config = TrainConfig(steps=steps, schedule="one_cycle", learning_rate=1e-3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    for step in range(steps):
        assert learning_rate(step, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


def test_constant_warms_up_then_stays() -> None:
    config = TrainConfig(steps=10, schedule="constant", warmup_steps=4, learning_rate=1.0)
    assert [learning_rate(step, config) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
