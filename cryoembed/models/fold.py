"""Batch normalisation folded into the convolutions before it: the same network, faster, for inference only."""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

M = TypeVar("M", bound=nn.Module)


def fold_batchnorm(module: M) -> M:
    """Return a copy in evaluation mode whose normalisations are folded into the layers before them.

    Outputs agree with the unfolded network to float32 rounding. The copy cannot be trained further, nor saved as
    weights: its tensors have other names.
    """
    folded = copy.deepcopy(module).eval().requires_grad_(False)
    for parent in list(folded.modules()):
        if isinstance(parent, nn.Sequential):
            _fold_neighbours(parent)
    return folded


def _fold_neighbours(sequence: nn.Sequential) -> None:
    names = list(sequence._modules)
    for before, after in itertools.pairwise(names):
        layer, norm = sequence._modules[before], sequence._modules[after]
        if not isinstance(norm, _BatchNorm):
            continue
        if not norm.affine:  # torch's fusion of linear layers wants a scale
            norm.weight, norm.bias = (
                nn.Parameter(torch.ones(norm.num_features)),
                nn.Parameter(torch.zeros(norm.num_features)),
            )
        if isinstance(layer, nn.Conv3d):
            sequence._modules[before] = fuse_conv_bn_eval(layer, norm)
        elif isinstance(layer, nn.Linear):
            sequence._modules[before] = fuse_linear_bn_eval(layer, norm)
        else:
            continue
        sequence._modules[after] = nn.Identity()
