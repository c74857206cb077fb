"""Supervised heads on the finest pyramid map: which channels they give, in which order, and how they become outputs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.backbone import conv_norm, initialise
from cryoembed.models.config import Head

HEAD_OUTPUTS: dict[Head, tuple[str, ...]] = {
    "denoise": ("denoise",),
    "instance": ("distance", "boundary", "foreground"),
}
LOGITS = frozenset({"boundary", "foreground"})  # sigmoid makes probabilities of them
# Rare classes start at their prior, or the first steps are spent on learning "nothing anywhere" (design, section 5).
PRIORS = {"boundary": 0.05, "foreground": 0.1}


class HeadNetwork(nn.Sequential):
    """Three-layer CNN head: 3^3, 3^3, 1^1 (thesis, section 4.1)."""

    def __init__(self, head: Head, channels_in: int, channels: int) -> None:
        last = nn.Conv3d(channels, len(HEAD_OUTPUTS[head]), 1)
        super().__init__(
            *conv_norm(channels_in, channels, 3),
            nn.ReLU(inplace=True),
            *conv_norm(channels, channels, 3),
            nn.ReLU(inplace=True),
            last,
        )
        initialise(self)
        nn.init.normal_(last.weight, std=0.01)
        biases = [_logit(PRIORS[name]) if name in PRIORS else 0.0 for name in HEAD_OUTPUTS[head]]
        with torch.no_grad():
            last.bias.copy_(torch.tensor(biases))  # type: ignore[union-attr]


def split_outputs(head: Head, channels: Float[Tensor, "b c z y x"]) -> dict[str, Float[Tensor, "b 1 z y x"]]:
    """Name the channels of a head's output."""
    return {name: channels[:, index : index + 1] for index, name in enumerate(HEAD_OUTPUTS[head])}


def head_of(output: str) -> Head:
    """Return the head that gives ``output``; a `KeyError` names an unknown one."""
    for head, names in HEAD_OUTPUTS.items():
        if output in names:
            return head
    raise KeyError(output)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
