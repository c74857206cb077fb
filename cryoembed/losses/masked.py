"""Reconstruction of what was hidden: the masked autoencoder's error, on masked patches only."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def masked_error(
    predicted: Float[Tensor, "b patches voxels"],
    target: Float[Tensor, "b patches voxels"],
    visible: Int64[Tensor, "b kept"],
) -> Float[Tensor, ""]:
    """Return the mean squared error over the patches that are not ``visible`` (He et al. 2022, section 3), in float32."""
    hidden = torch.ones(target.shape[:2], device=target.device).scatter_(1, visible, 0.0)
    per_patch = (predicted.float() - target.float()).square().mean(dim=2)
    return (per_patch * hidden).sum() / hidden.sum()


def normalised_patches(patches: Float[Tensor, "b patches voxels"]) -> Float[Tensor, "b patches voxels"]:
    """Return each patch with mean 0 and s.d. 1: the target that keeps local contrast (He et al. 2022, section 3)."""
    deviation, mean = torch.std_mean(patches.float(), dim=2, keepdim=True, correction=0)
    return (patches.float() - mean) / deviation.clamp(min=1e-3)
