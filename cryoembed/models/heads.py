"""Supervised heads on the finest pyramid map: which channels they give, in which order, and how they become outputs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.backbone import conv_norm, initialise
from cryoembed.models.config import Head
from cryoembed.semantic import SEMANTIC_CLASSES

HEAD_OUTPUTS: dict[Head, tuple[str, ...]] = {
    "denoise": ("denoise",),
    "instance": ("distance", "boundary", "foreground"),
    "semantic": ("semantic", "semantic_distance"),
    "lamella": ("lamella",),
}
CHANNELS = {"semantic": len(SEMANTIC_CLASSES)}  # of outputs that have more than one
LOGITS = frozenset({"boundary", "foreground", "lamella"})  # sigmoid makes probabilities of them
CLASS_LOGITS = frozenset({"semantic"})  # softmax over the channels does
# Rare classes start at their prior, or the first steps are spent on learning "nothing anywhere" (design, section 5).
PRIORS = {"boundary": 0.05, "foreground": 0.1, "lamella": 0.7}
CLASS_PRIORS = {
    "background": 0.84,
    "particle": 0.1,
    "membrane": 0.04,
    "microtubule": 0.01,
    "actin": 0.005,
    "dna": 0.005,
}


class HeadNetwork(nn.Sequential):
    """Three-layer CNN head: 3^3, 3^3, 1^1 (thesis, section 4.1)."""

    def __init__(self, head: Head, channels_in: int, channels: int) -> None:
        biases = [bias for name in HEAD_OUTPUTS[head] for bias in _biases(name)]
        last = nn.Conv3d(channels, len(biases), 1)
        super().__init__(
            *conv_norm(channels_in, channels, 3),
            nn.ReLU(inplace=True),
            *conv_norm(channels, channels, 3),
            nn.ReLU(inplace=True),
            last,
        )
        initialise(self)
        nn.init.normal_(last.weight, std=0.01)
        with torch.no_grad():
            last.bias.copy_(torch.tensor(biases))  # type: ignore[union-attr]


def split_outputs(head: Head, channels: Float[Tensor, "b c z y x"]) -> dict[str, Float[Tensor, "b _ z y x"]]:
    """Name the channels of a head's output; ``semantic`` has one per class, the others one each."""
    outputs, start = {}, 0
    for name in HEAD_OUTPUTS[head]:
        stop = start + CHANNELS.get(name, 1)
        outputs[name], start = channels[:, start:stop], stop
    return outputs


def map_shape(output: str, shape: tuple[int, ...], voxel_dim: int) -> tuple[int, ...]:
    """Shape of an output's dense map of a volume: outputs with several channels, embeddings too, have them first."""
    if output == "embedding":
        return (voxel_dim, *shape)
    return (CHANNELS[output], *shape) if output in CHANNELS else shape


def activated(name: str, raw: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b c z y x"]:
    """Make probabilities of logits; other outputs stay as they are."""
    if name in CLASS_LOGITS:
        return raw.softmax(dim=1)
    return raw.sigmoid() if name in LOGITS else raw


def class_weights(balance: float) -> Float[Tensor, " c"]:
    """Return ``prior ** -balance`` of every class of the semantic head, 1 in the mean over voxels: 1 each for 0."""
    priors = torch.tensor([CLASS_PRIORS[name] for name in SEMANTIC_CLASSES])
    weights = priors**-balance
    return weights / (priors * weights).sum()


def head_of(output: str) -> Head:
    """Return the head that gives ``output``; a `KeyError` names an unknown one."""
    for head, names in HEAD_OUTPUTS.items():
        if output in names:
            return head
    raise KeyError(output)


def _biases(name: str) -> list[float]:
    if name in CLASS_LOGITS:
        return [math.log(CLASS_PRIORS[label]) for label in SEMANTIC_CLASSES]
    return [_logit(PRIORS[name]) if name in PRIORS else 0.0]


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
