"""The feature pyramid: 1^1 laterals to one width, coarse maps are upsampled and added (thesis, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.backbone import initialise


class Pyramid(nn.Module):
    """Feature pyramid network without smoothing convolutions, as in CryoSiam."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv3d(width, channels, 1) for width in channels_in)
        initialise(self)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _ _"]]) -> list[Float[Tensor, "b c _ _ _"]]:
        """Merge backbone maps (fine to coarse) into pyramid maps of the same sizes (fine to coarse)."""
        merged = [lateral(stage_map) for lateral, stage_map in zip(self.laterals, maps, strict=True)]
        for level in range(len(merged) - 2, -1, -1):
            merged[level] = merged[level] + upsample(merged[level + 1], 2).to(merged[level].dtype)
        return merged


def upsample(x: Float[Tensor, "b c z y x"], factor: int) -> Float[Tensor, "b c p q r"]:
    """Upsample trilinearly with voxel centres kept in place (``align_corners=False``)."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="trilinear", align_corners=False)
