"""Convolution and upsampling of slabs of planes: what torch's functions compute, by the fastest way torch has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cryoembed.infer.graph import Reads

PACKED = 8  # columns that become channels


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, reads: Reads) -> Tensor:
    """Convolve a slab that brings its own neighbours along z; along y and x it is padded with zeros.

    Parameters
    ----------
    x
        (1, c, planes, y, x).
    weight, bias, groups
        As for `torch.nn.functional.conv3d`.
    reads
        Stride, padding (z not used) and dilation.
    """
    x = x.to(weight.dtype)
    stride, padding, dilation = reads.stride, (0, *reads.padding[1:]), reads.dilation
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return F.conv3d(x, weight, bias, stride, padding, dilation, groups)
    one_channel = weight.shape[1] == groups == 1
    if one_channel and weight.dtype == torch.bfloat16 and 4 <= weight.shape[4] <= PACKED and dilation == (1, 1, 1):
        # bf16 instructions multiply pairs of channels: with a single one they are no faster than float32
        x, weight = _pack_columns(x, weight, stride[2], padding[2])
        stride, padding = (*stride[:2], 1), (*padding[:2], 0)
    # for thin slabs conv3d chooses its own float32 kernels, up to 13 times slower than oneDNN's
    return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)


def upsample(x: Tensor, first: int, planes: int, start: int, stop: int, *, factor: int, mode: str) -> Tensor:
    """Planes [start, stop) of `torch.nn.functional.interpolate` (``align_corners=False``) with a whole factor.

    Along z, where planes are few, before y and x, where they are many; no plane is made to be thrown away.

    Parameters
    ----------
    x
        (1, c, slab, y, x): coarse planes from ``first`` on, of ``planes`` in all.
    mode
        ``trilinear`` or ``nearest``.
    """
    fine = torch.arange(start, stop, device=x.device)
    coarse = x[0].permute(1, 2, 3, 0)  # z y x c: contiguous in channels-last layout
    if mode == "nearest":
        stack = coarse.index_select(0, fine // factor - first)
        return F.interpolate(stack.permute(0, 3, 1, 2), scale_factor=float(factor)).permute(1, 0, 2, 3)[None]
    at = ((fine + 0.5) / factor - 0.5).clamp(0, planes - 1)
    below = at.floor().long()
    share = (at - below).to(x.dtype)[:, None, None, None]
    above = (below + 1).clamp(max=planes - 1)
    stack = torch.lerp(coarse.index_select(0, below - first), coarse.index_select(0, above - first), share)
    fine_stack = F.interpolate(
        stack.permute(0, 3, 1, 2), scale_factor=float(factor), mode="bilinear", align_corners=False
    )
    return fine_stack.permute(1, 0, 2, 3)[None]


def _pack_columns(x: Tensor, weight: Tensor, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Turn the x axis of the kernel into input channels: (1, 1, z, y, x) -> (1, 8, z, y, x')."""
    missing = PACKED - weight.shape[4]
    columns = F.pad(x[0, 0], (padding, padding + missing)).unfold(2, PACKED, stride)
    packed = F.pad(weight[:, 0].permute(0, 3, 1, 2)[..., None], (0, 0, 0, 0, 0, 0, 0, missing))
    return columns.contiguous().permute(3, 0, 1, 2)[None], packed.contiguous(memory_format=torch.channels_last_3d)
