"""Masks of training boxes: the particle's own voxels as a segmentation would give them, errors and all."""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor

from cryoembed.config import Config
from cryoembed.simulate.density.template import MASK_THRESHOLD
from cryoembed.subtomograms import Mask, MaskKind, particle_mask


class MaskShares(Config):
    """Share of the boxes that is masked in each way; together 1."""

    none: float = Field(1.0, ge=0, le=1)
    hull: float = Field(0.0, ge=0, le=1, description="the particle's convex hull")
    strict: float = Field(0.0, ge=0, le=1, description="its own voxels")

    @model_validator(mode="after")
    def _whole(self) -> MaskShares:
        total = self.none + self.hull + self.strict
        if abs(total - 1) > 1e-6:
            raise ValueError(f"mask_shares sum to {total:g}, not 1; give none, hull and strict (none is 1 by default)")
        return self


def mask_boxes(boxes: Tensor, masks: Tensor) -> Tensor:
    """Set what lies outside (n, z, y, x) masks to 0, the mean of a prepared tomogram.

    As at inference, the tomogram is standardised before, the box (by the network) after.
    """
    return torch.where(masks, boxes, 0.0)


def draw_masks(own: Tensor, shares: MaskShares, error_vox: float, generator: np.random.Generator) -> Tensor:
    """Draw a mask for each box.

    Parameters
    ----------
    own
        (n, z, y, x) clean density of each box's own particle alone; its mask is where it exceeds the threshold that
        simulated truth uses. A box without one (background) stays whole, as a position without an instance does.
    shares
        How often each kind is drawn.
    error_vox
        Each mask is dilated or eroded by up to this many voxels before its hull is taken.

    Returns
    -------
    (n, z, y, x) bool
    """
    kinds: tuple[MaskKind, ...] = ("none", "hull", "strict")
    drawn = generator.choice(3, size=len(own), p=[getattr(shares, kind) for kind in kinds])
    errors = generator.uniform(-error_vox, error_vox, size=len(own))
    masks = np.ones(tuple(own.shape), dtype=np.bool_)
    for row, (which, error) in enumerate(zip(drawn, errors, strict=True)):
        density = own[row].numpy().astype(np.float64)
        if kinds[which] != "none" and density.max() > 0:
            support = density > MASK_THRESHOLD * (density**2).sum() / density.sum()
            masks[row] = particle_mask(_off_by(support, float(error)), kinds[which])
    return torch.from_numpy(masks)


def _off_by(mask: Mask, error_vox: float) -> npt.NDArray[np.bool_]:
    """The mask grown by ``error_vox`` voxels, or shrunk by as many where negative (unless nothing would be left)."""
    if error_vox >= 0:
        return np.asarray(edt.edt(np.ascontiguousarray(~mask), black_border=False) <= error_vox)
    smaller = np.asarray(edt.edt(mask, black_border=False) > -error_vox)
    return smaller if smaller.any() else mask
