"""Supervised voxel losses: denoising (equation 8), classes (9-12), instances (13-16) of the thesis, section 3.2.2."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

DiceKind = Literal["generalised", "mean"]
VoxelWeights = Float[Tensor, "b 1 z y x"] | Bool[Tensor, "b 1 z y x"]


class InstanceTerms(NamedTuple):
    """The loss of equation 16 and its parts, for the log."""

    total: Float[Tensor, ""]
    distance: Float[Tensor, ""]
    boundary: Float[Tensor, ""]
    foreground: Float[Tensor, ""]


class SemanticTerms(NamedTuple):
    """The loss of equation 12 and its parts, for the log."""

    total: Float[Tensor, ""]
    cross_entropy: Float[Tensor, ""]
    dice: Float[Tensor, ""]
    distance: Float[Tensor, ""]


def squared_error(
    predicted: Float[Tensor, "b 1 z y x"],
    target: Float[Tensor, "b 1 z y x"],
    weights: VoxelWeights | None = None,
) -> Float[Tensor, ""]:
    """Return the mean squared error (equation 8 for denoising, 13 for distances).

    Parameters
    ----------
    predicted, target
        Intensities, or distances to the background.
    weights
        A weight per voxel, or True where the target is known; the mean is weighted. All zero gives 0.
    """
    return _weighted_mean((predicted.float() - target.float()).square(), weights)


def binary_cross_entropy(
    logits: Float[Tensor, "b 1 z y x"],
    target: Float[Tensor, "b 1 z y x"],
    weights: VoxelWeights | None = None,
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of logits (equation 14 for boundaries, 15 for foreground; lamella, 5.3.2)."""
    losses = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return _weighted_mean(losses, weights)


def instance_loss(
    distance: Float[Tensor, "b 1 z y x"],
    boundary_logits: Float[Tensor, "b 1 z y x"],
    foreground_logits: Float[Tensor, "b 1 z y x"],
    *,
    distance_target: Float[Tensor, "b 1 z y x"],
    boundary_target: Float[Tensor, "b 1 z y x"],
    foreground_target: Float[Tensor, "b 1 z y x"],
    weights: VoxelWeights | None = None,
) -> InstanceTerms:
    """Return equation 16: the plain sum of equations 13, 14 and 15."""
    first = squared_error(distance, distance_target, weights)
    second = binary_cross_entropy(boundary_logits, boundary_target, weights)
    third = binary_cross_entropy(foreground_logits, foreground_target, weights)
    return InstanceTerms(first + second + third, first, second, third)


def semantic_loss(
    class_logits: Float[Tensor, "b c z y x"],
    distance: Float[Tensor, "b 1 z y x"],
    *,
    classes: Int64[Tensor, "b 1 z y x"],
    distance_target: Float[Tensor, "b 1 z y x"],
    known: Bool[Tensor, "b 1 z y x"],
    class_weights: Float[Tensor, " c"] | None = None,
    dice: DiceKind = "generalised",
) -> SemanticTerms:
    """Return equation 12: the plain sum of cross-entropy (9), generalised Dice (10) and squared distance error (11).

    Parameters
    ----------
    classes
        Class numbers; any within range where not ``known``.
    known
        Voxels that count, in all three terms.
    class_weights
        By which the cross-entropy of a voxel of each class is multiplied; None: 1, as in equation 9.
    dice
        ``generalised`` (equation 10), or ``mean``, see `mean_dice`.

    Notes
    -----
    The sums of the Dice loss run over all voxels of the batch: a single crop seldom shows more than two classes, and
    the weights of equation 10 would then be those of a few stray voxels.
    """
    logits, weights = class_logits.float(), known.float()
    losses = F.cross_entropy(logits, classes[:, 0], reduction="none")[:, None]
    entropy = _weighted_mean(losses if class_weights is None else losses * class_weights[classes], weights)
    one_hot = F.one_hot(classes[:, 0], logits.shape[1]).movedim(-1, 1) * weights
    overlap = generalised_dice if dice == "generalised" else mean_dice
    missed = overlap(_as_one_sample(logits.softmax(dim=1) * weights), _as_one_sample(one_hot))
    error = squared_error(distance, distance_target, weights)
    return SemanticTerms(entropy + missed + error, entropy, missed, error)


def generalised_dice(
    probabilities: Float[Tensor, "b c z y x"], target: Float[Tensor, "b c z y x"], *, smooth: float = 1e-5
) -> Float[Tensor, ""]:
    """Return the generalised Dice loss (equation 10), the mean over samples.

    Parameters
    ----------
    probabilities
        After softmax or sigmoid.
    target
        One-hot classes. A class absent from a sample takes the largest weight among the present ones (its own would
        be infinite), as in MONAI.
    smooth
        Added to numerator and denominator.
    """
    space = (2, 3, 4)
    probabilities, target = probabilities.float(), target.float()
    volume = target.sum(dim=space)
    weights = torch.where(volume > 0, volume.clamp_min(torch.finfo(torch.float32).tiny) ** -2, 0.0)
    largest = weights.amax(dim=1, keepdim=True)
    weights = torch.where(volume > 0, weights, torch.where(largest > 0, largest, 1.0))
    weights = weights / weights.amax(dim=1, keepdim=True)  # of 1 / voxels^2 the constant below would be most of the sum
    shared = (weights * (probabilities * target).sum(dim=space)).sum(dim=1)
    united = (weights * (probabilities + target).sum(dim=space)).sum(dim=1)
    return (1 - (2 * shared + smooth) / (united + smooth)).mean()


def mean_dice(
    probabilities: Float[Tensor, "b c z y x"], target: Float[Tensor, "b c z y x"], *, smooth: float = 1e-5
) -> Float[Tensor, ""]:
    """Return 1 - the mean soft Dice of the classes that a sample has, the mean over samples.

    Every class counts alike and by itself. In equation 10 the rarest class of a sample has nearly all the weight (the
    square of its volume divides), so that until it is found the loss says nothing of the others.
    """
    space = (2, 3, 4)
    probabilities, target = probabilities.float(), target.float()
    volume = target.sum(dim=space)
    present = (volume > 0).float()
    each = (2 * (probabilities * target).sum(dim=space) + smooth) / (probabilities.sum(dim=space) + volume + smooth)
    return 1 - ((each * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)).mean()


def _as_one_sample(volumes: Float[Tensor, "b c z y x"]) -> Float[Tensor, "1 c n 1 1"]:
    return volumes.movedim(1, 0).flatten(1)[None, :, :, None, None]


def _weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    weights = weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)
