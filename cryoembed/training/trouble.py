"""Steps whose loss or gradients are not finite: what to tell, and when to give up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cryoembed.training.draws import Draw

MOST_SKIPS_IN_A_ROW = 50  # bf16 gradients recover; a training that does nothing else has diverged
MOST_BAD_LOSSES_IN_A_ROW = 3  # a loss does not: the data or the weights are at fault


@dataclass
class Streak:
    """Steps in a row that were skipped, and those of them whose loss was not finite."""

    skips: int = 0
    bad_losses: int = 0

    def add(self, *, finite: bool, bad_loss: bool) -> None:
        """Count a step."""
        self.skips = 0 if finite else self.skips + 1
        self.bad_losses = self.bad_losses + 1 if bad_loss else 0

    @property
    def given_up(self) -> bool:
        """Whether to stop."""
        return self.skips >= MOST_SKIPS_IN_A_ROW or self.bad_losses >= MOST_BAD_LOSSES_IN_A_ROW


def bad_terms(values: Mapping[str, Tensor]) -> list[str]:
    """Names of the scalars that are not finite."""
    scalars = {name: value for name, value in values.items() if name not in ("embeddings", "gradient_norm")}
    return [name for name, value in scalars.items() if not bool(torch.isfinite(value.detach()).all())]


def explained(values: Mapping[str, Tensor], draw: Draw, seed: Sequence[int]) -> str:
    """Which terms of the loss are not finite, in which batch, and whether the batch was at fault; it is drawn again."""
    batch = draw(np.random.default_rng(seed), seed[-1])
    broken = [name for name, value in batch.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    cause = f"its {' and '.join(map(repr, broken))} holds NaN or infinite values" if broken else "its values are finite"
    terms = ", ".join(bad_terms(values)) or "none of its last part"
    return f"terms that are not finite: {terms}; batch {seed[-1]} (numpy.random.default_rng({tuple(seed)})): {cause}"
