"""Self-supervision without negatives: DenseSimSiam on windows, SimSiam on boxes (thesis, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cryoembed.losses.correspondence import corresponding_loss
from cryoembed.losses.cosine import overlap_loss, symmetric_loss, total_loss
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.projector import Projection
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.training.objectives.terms import Terms, detached

MONITORED_VOXELS = 256


class DenseSimSiam(nn.Module):
    """Equation 7 over two overlapping views; ``global``, ``dense`` and ``level`` parts go to the log."""

    def __init__(self, network: VoxelNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Terms) -> Terms:
        a, b = self.network(batch["view_a"]), self.network(batch["view_b"])
        compare = _compared(batch)
        dense = compare(a.dense, b.dense, 1)
        whole = torch.zeros_like(dense)  # of a network without a global embedding
        if a.whole is not None and b.whole is not None:
            whole = symmetric_loss(a.whole.predicted, a.whole.projected, b.whole.predicted, b.whole.projected)
        terms = total_loss(
            whole,
            dense,
            [compare(a.levels[stride], b.levels[stride], stride) for stride in a.levels],
        )
        logged = {"global": terms.whole, "dense": terms.dense, "level": terms.levels}
        return {"loss": terms.total, "embeddings": _some_voxels(a.dense.projected), **detached(logged)}


class SimSiam(nn.Module):
    """Equation 2 over two views of each subtomogram."""

    def __init__(self, network: SubtomogramNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Terms) -> Terms:
        a, b = self.network(batch["view_a"]), self.network(batch["view_b"])
        loss = symmetric_loss(a.predicted, a.projected, b.predicted, b.projected)
        return {"loss": loss, "embeddings": torch.cat([a.projected, b.projected]).detach()}


def _compared(batch: Terms) -> Callable[[Projection, Projection, int], Tensor]:
    """The loss between maps of both views at a stride, over what both show: a region, or an affine map."""
    if "corresponds" in batch:
        corresponds = batch["corresponds"].cpu()
        return lambda a, b, stride: corresponding_loss(
            a.predicted, a.projected, b.predicted, b.projected, corresponds, stride=stride
        )
    regions = batch["overlap_a"].cpu(), batch["overlap_b"].cpu()
    return lambda a, b, stride: overlap_loss(
        a.predicted, a.projected, b.predicted, b.projected, *regions, stride=stride
    )


def _some_voxels(maps: Tensor) -> Tensor:
    """(n, d) evenly spaced voxels of (b, d, z, y, x) maps."""
    vectors = maps.detach().flatten(2).transpose(1, 2).flatten(0, 1)
    return vectors[:: max(1, len(vectors) // MONITORED_VOXELS)]
