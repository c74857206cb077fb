"""What a species is like, as numbers that no rotation changes: targets for vectors beside the classes' names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cryoembed.models.config import ShellConfig
from cryoembed.models.invariants import ShellInvariants

_PART = 64  # boxes expanded at a time


def shape_descriptors(orientations: Float[Tensor, "turns classes z y x"], dims: int) -> Float[Tensor, "classes dims"]:
    """Return the leading principal components of the shell invariants (`models.invariants`) of clean densities.

    Components are scaled by the square root of their standard deviation, half way between leading ones that say
    hardly more than the mass and a white spectrum that is mostly interpolation; their mean square is 1.

    Parameters
    ----------
    orientations
        The density of each class, centred in its box, without neighbours, in a few orientations: invariants are averaged
        over them, because a grid is not quite round.
    dims
        At most as many as there are classes.
    """
    invariants = ShellInvariants(ShellConfig(), orientations.shape[-1])
    turns = [torch.cat([invariants(part) for part in boxes[:, None].split(_PART)]) for boxes in orientations]
    values = torch.stack(turns).mean(0).double()
    left, spread, _ = torch.linalg.svd(values - values.mean(0), full_matrices=False)
    found = (left * spread.sqrt())[:, :dims]
    scaled: Tensor = found / found.square().mean().sqrt()
    return scaled.float()
