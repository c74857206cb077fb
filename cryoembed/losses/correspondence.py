"""The dense cosine loss between views of which one was turned, zoomed or shifted: which voxel is compared with which.

A turn is undone by transposing and flipping the map of the other view, which is exact; anything else looks it up
trilinearly between its voxels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cryoembed.losses.cosine import symmetric_loss

Affine = npt.NDArray[np.float64]
TOLERANCE = 1e-6


def corresponding_loss(
    predicted_a: Float[Tensor, "b d za ya xa"],
    projected_a: Float[Tensor, "b d za ya xa"],
    predicted_b: Float[Tensor, "b d zb yb xb"],
    projected_b: Float[Tensor, "b d zb yb xb"],
    corresponds: Float[Tensor, "b 3 4"],
    *,
    stride: int = 1,
) -> Float[Tensor, ""]:
    """Return equation 4 (stride 1) or 5 (a level's stride) over the voxels of view a that view b shows, too.

    Parameters
    ----------
    predicted_a, projected_a, predicted_b, projected_b
        Dense maps of the two views.
    corresponds
        Affine maps in *full-resolution* voxels (`cryoembed.views.warp.correspondence`): voxel p of view a is at
        ``A p + t`` of view b. On the CPU, or every step waits for the device.
    stride
        Full-resolution voxels per voxel of the maps; voxel j of a map stands for voxel ``stride * j``.

    Raises
    ------
    ValueError
        If views of a sample have no voxel in common.
    """
    losses = []
    for sample, affine in enumerate(corresponds.double().numpy()):
        here, there = (
            torch.cat([predicted[sample], projected[sample]]).float()
            for predicted, projected in ((predicted_a, projected_a), (predicted_b, projected_b))
        )
        matrix, offset = affine[:, :3], affine[:, 3] / stride
        part_a, part_b = (_exact if _on_grid(matrix, offset) else _looked_up)(here, there, matrix, offset)
        if part_a.numel() == 0:
            raise ValueError(f"views of sample {sample} have no voxel in common: {affine.tolist()}")
        losses.append(symmetric_loss(*part_a[None].chunk(2, dim=1), *part_b[None].chunk(2, dim=1)))
    return torch.stack(losses).mean()


def _on_grid(matrix: Affine, offset: Affine) -> bool:
    """Whether voxels fall on voxels: a signed permutation and whole voxels."""
    whole = all(np.abs(values - np.round(values)).max() < TOLERANCE for values in (matrix, offset))
    return whole and bool((np.abs(matrix).round().sum(axis=1) == 1).all())


def _exact(here: Tensor, there: Tensor, matrix: Affine, offset: Affine) -> tuple[Tensor, Tensor]:
    """Both views' shared region, in the axes of view a."""
    signs = np.round(matrix).astype(int)
    source = np.abs(signs).argmax(axis=0).tolist()  # the axis of b that runs along each axis of a
    undone = there.permute(0, *(1 + axis for axis in source))
    parts_a: list[slice] = [slice(None)]
    parts_b: list[slice] = [slice(None)]
    for axis, axis_b in enumerate(source):
        size_a, size_b, shift = here.shape[1 + axis], undone.shape[1 + axis], round(float(offset[axis_b]))
        if signs[axis_b, axis] < 0:
            undone, shift = undone.flip(1 + axis), size_b - 1 - shift
        low, high = max(0, -shift), max(0, min(size_a, size_b - shift))
        parts_a.append(slice(low, max(low, high)))
        parts_b.append(slice(low + shift, max(low, high) + shift))
    return here[tuple(parts_a)], undone[tuple(parts_b)]


def _looked_up(here: Tensor, there: Tensor, matrix: Affine, offset: Affine) -> tuple[Tensor, Tensor]:
    """(d, n): voxels of view a that lie between voxels of view b, and what b shows there."""
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in here.shape[1:]), indexing="ij"), axis=-1)
    positions = indices.reshape(-1, 3) @ matrix.T + offset
    last = np.array(there.shape[1:]) - 1
    shared = np.all((positions > -TOLERANCE) & (positions < last + TOLERANCE), axis=1)
    scaled = positions[shared] / np.maximum(last, 1) * 2 - 1
    grid = torch.from_numpy(np.ascontiguousarray(scaled[:, ::-1], dtype=np.float32)).to(there.device)
    with torch.autocast(there.device.type, enabled=False):
        found = F.grid_sample(there[None], grid[None, None, None], align_corners=True, padding_mode="border")
    return here.flatten(1)[:, torch.from_numpy(shared).to(here.device)], found[0, :, 0, 0]
