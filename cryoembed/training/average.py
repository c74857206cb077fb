"""A moving average of a network's weights over the steps (Polyak and Juditsky 1992): often better than the last ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Parameters averaged exponentially, buffers (running statistics of batch normalisation) copied.

    Parameters
    ----------
    module
        The network; the average starts as a copy of it.
    decay
        Share of the old average that a step keeps. Step ``n`` keeps no more than ``(1 + n) / (10 + n)``, so that
        the random start is forgotten however short the training.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, done: int) -> None:
        """Take in the weights after the optimizer's ``done``-th step, counted from 0."""
        decay = min(self.decay, (1 + done) / (10 + done))
        weights = dict(module.named_parameters())
        averaged = [self.state[name] for name in weights]
        torch._foreach_lerp_(averaged, [weight.detach() for weight in weights.values()], 1 - decay)
        for name, value in module.state_dict().items():
            if name not in weights:
                self.state[name].copy_(value)
