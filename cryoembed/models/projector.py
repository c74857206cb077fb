"""Projectors and predictors of SimSiam: multilayer perceptrons for vectors, 1^1 convolutions for voxels and levels."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class Projection(NamedTuple):
    """What one view gives to a cosine loss: the embedding and what the predictor makes of it (``z`` and ``p``)."""

    projected: Float[Tensor, "b d *space"]
    predicted: Float[Tensor, "b d *space"]


def vector_projector(channels_in: int, dim: int) -> nn.Sequential:
    """Return the three-layer projector of SimSiam; the last normalisation has no scale, against collapse."""
    return nn.Sequential(
        nn.Linear(channels_in, channels_in, bias=False),
        nn.BatchNorm1d(channels_in),
        nn.ReLU(inplace=True),
        nn.Linear(channels_in, channels_in, bias=False),
        nn.BatchNorm1d(channels_in),
        nn.ReLU(inplace=True),
        nn.Linear(channels_in, dim, bias=False),
        nn.BatchNorm1d(dim, affine=False),
    )


def vector_predictor(dim: int) -> nn.Sequential:
    """Return the two-layer predictor of SimSiam with a bottleneck of a quarter (thesis, section 4.1)."""
    narrow = max(dim // 4, 1)
    return nn.Sequential(
        nn.Linear(dim, narrow, bias=False), nn.BatchNorm1d(narrow), nn.ReLU(inplace=True), nn.Linear(narrow, dim)
    )


def dense_projector(channels_in: int, dim: int) -> nn.Sequential:
    """Return the three-layer 1^1 projector of voxel and level embeddings (thesis, section 3.2)."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_in, 1, bias=False),
        nn.BatchNorm3d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv3d(channels_in, channels_in, 1, bias=False),
        nn.BatchNorm3d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv3d(channels_in, dim, 1, bias=False),
        nn.BatchNorm3d(dim, affine=False),
    )


def dense_predictor(dim: int) -> nn.Sequential:
    """Return the two-layer 1^1 predictor with a bottleneck of a quarter."""
    narrow = max(dim // 4, 1)
    return nn.Sequential(
        nn.Conv3d(dim, narrow, 1, bias=False), nn.BatchNorm3d(narrow), nn.ReLU(inplace=True), nn.Conv3d(narrow, dim, 1)
    )
