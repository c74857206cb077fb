"""Cosine losses of SimSiam and DenseSimSiam, equations 1-7 of the thesis (section 3.2); float32 whatever comes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class SimSiamTerms(NamedTuple):
    """The loss of equation 7 and its parts, for the log."""

    total: Float[Tensor, ""]
    whole: Float[Tensor, ""]
    dense: Float[Tensor, ""]
    levels: Float[Tensor, ""]


def negative_cosine(
    predicted: Float[Tensor, "b d *space"], projected: Float[Tensor, "b d *space"]
) -> Float[Tensor, ""]:
    """Return the mean of ``-cos(p, z)`` over samples and voxels (equations 1 and 3); channels are axis 1."""
    with torch.autocast(predicted.device.type, enabled=False):
        return -F.cosine_similarity(predicted.float(), projected.float(), dim=1).mean()


def symmetric_loss(
    predicted_a: Float[Tensor, "b d *space"],
    projected_a: Float[Tensor, "b d *space"],
    predicted_b: Float[Tensor, "b d *space"],
    projected_b: Float[Tensor, "b d *space"],
) -> Float[Tensor, ""]:
    """Return equation 2: each view's prediction against the other view's embedding, which gets no gradient."""
    one = negative_cosine(predicted_a, projected_b.detach())
    other = negative_cosine(predicted_b, projected_a.detach())
    return 0.5 * one + 0.5 * other


def overlap_loss(
    predicted_a: Float[Tensor, "b d za ya xa"],
    projected_a: Float[Tensor, "b d za ya xa"],
    predicted_b: Float[Tensor, "b d zb yb xb"],
    projected_b: Float[Tensor, "b d zb yb xb"],
    overlap_a: Int[Tensor, "b 3 2"],
    overlap_b: Int[Tensor, "b 3 2"],
    *,
    stride: int = 1,
) -> Float[Tensor, ""]:
    """Return equation 4 (stride 1) or 5 (a level's stride): the symmetric loss over voxels that both views show.

    Equation 5 prints the stop-gradient at the predictor's output; as in equations 2 and 4 it is set at the embedding.

    Parameters
    ----------
    predicted_a, projected_a, predicted_b, projected_b
        Dense maps of the two views.
    overlap_a, overlap_b
        Per sample and zyx axis the ``[start, stop)`` of the shared region in *full-resolution* voxels of each view;
        equal sizes. On the CPU, or every step waits for the device.
    stride
        Full-resolution voxels per voxel of the maps. Regions are rounded to whole voxels of the map; views displaced
        by a multiple of the stride correspond exactly.

    Raises
    ------
    ValueError
        If a region is empty, lies outside its view, or differs in size between the views.
    """
    losses = []
    regions = zip(overlap_a.tolist(), overlap_b.tolist(), strict=True)
    for sample, (region_a, region_b) in enumerate(regions):
        part_a = overlap_slices(region_a, region_b, predicted_a.shape[2:], stride=stride)
        part_b = overlap_slices(region_b, region_a, predicted_b.shape[2:], stride=stride)
        view_a = (_cut(maps, sample, part_a) for maps in (predicted_a, projected_a))
        view_b = (_cut(maps, sample, part_b) for maps in (predicted_b, projected_b))
        losses.append(symmetric_loss(*view_a, *view_b))
    return torch.stack(losses).mean()


def total_loss(
    whole: Float[Tensor, ""], dense: Float[Tensor, ""], levels: Iterable[Float[Tensor, ""]] = ()
) -> SimSiamTerms:
    """Return equation 7 with equation 6: the plain sum of global, dense and level losses."""
    level_sum = sum(levels, start=torch.zeros_like(dense))
    return SimSiamTerms(whole + dense + level_sum, whole, dense, level_sum)


def overlap_slices(
    region: list[list[int]], other: list[list[int]], size: Sequence[int], *, stride: int = 1
) -> tuple[slice, ...]:
    """Return the slices of ``region`` in a map of ``size`` voxels at ``stride``; ``other`` must be as large."""
    slices = []
    for (start, stop), (other_start, other_stop), limit in zip(region, other, size, strict=True):
        if stop - start != other_stop - other_start:
            raise ValueError(f"overlap regions differ in size: {region} and {other}")
        count = (stop - start) // stride
        first = min((start + stride // 2) // stride, limit - count)
        if count < 1 or start < 0 or first < 0 or stop > limit * stride:
            raise ValueError(f"overlap region {region} is empty at stride {stride} or outside a view of {size} voxels")
        slices.append(slice(first, first + count))
    return tuple(slices)


def _cut(maps: Tensor, sample: int, part: tuple[slice, ...]) -> Tensor:
    return maps[sample : sample + 1, :, *part]
