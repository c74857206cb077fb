"""SimSiam on subtomograms: one vector per box (thesis, section 3.2, equations 1 and 2), with invariants if asked for."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.backbone import Backbone, global_average
from cryoembed.models.config import ShellConfig, SubtomogramNetworkConfig
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.models.invariants import ShellInvariants
from cryoembed.models.projector import Projection, vector_predictor, vector_projector


class SubtomogramNetwork(SubtomogramEncoder):
    """Backbone with global average pooling, rotation invariants, or both side by side; then the projector.

    A second backbone may look at the middle of the box alone (the fovea), in finer steps: where small particles are and
    their neighbours are not. The predictor serves training only.
    """

    config: SubtomogramNetworkConfig

    def __init__(self, config: SubtomogramNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = nn.Identity() if config.backbone is None else Backbone(config.backbone)
        self.fovea = None if config.fovea is None else Backbone(config.fovea)
        self.shells = None if config.shells is None else _reader(config.shells, config.box_vox)
        self.projector = vector_projector(config.pooled_channels, config.embedding_dim)
        self.predictor = vector_predictor(config.embedding_dim)

    @property
    def fast_parts(self) -> list[nn.Module]:
        """Backbone and fovea."""
        return [self.backbone] if self.fovea is None else [self.backbone, self.fovea]

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Projection:
        """Embed boxes for self-supervision: ``Z`` and ``P`` of equation 1, not normalised."""
        projected = self.project(x)
        return Projection(projected, self.predict(projected))

    def pool(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c"]:
        """Return the mean of the last stage over the box and what is read from the invariants, in float32."""
        boxes = standardised(x)
        parts = [global_average(self.backbone(boxes)[-1])] if self.config.backbone is not None else []
        if self.fovea is not None:
            parts.append(global_average(self.fovea(_middle(boxes, self.config.fovea_vox))[-1]))
        if self.shells is not None:
            parts.append(self.shells(boxes).float())
        return torch.cat(parts, dim=1)

    def predict(self, projected: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return what the predictor makes of projected vectors."""
        return cast(Tensor, self.predictor(projected))


def standardised(x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b 1 z y x"]:
    """Return each box with mean 0 and s.d. 1, so that vectors do not depend on gold, ice or scale elsewhere."""
    deviation, mean = torch.std_mean(x.float(), dim=(1, 2, 3, 4), keepdim=True, correction=0)
    return ((x.float() - mean) / deviation.clamp(min=1e-6)).to(x.dtype)


def _middle(boxes: Float[Tensor, "b 1 z y x"], side: int) -> Float[Tensor, "b 1 s s s"]:
    """Cut the cube of ``side`` voxels out of each box whose index ``side // 2`` is the box's ``n // 2``."""
    start = boxes.shape[-1] // 2 - side // 2
    inner = slice(start, start + side)
    return boxes[:, :, inner, inner, inner]


def _reader(config: ShellConfig, box_vox: int) -> nn.Sequential:
    """Invariants, and two layers that learn which of them tell particles apart."""
    return nn.Sequential(
        ShellInvariants(config, box_vox),
        nn.BatchNorm1d(config.features, affine=False),
        nn.Linear(config.features, config.hidden, bias=False),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.hidden, bias=False),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
    )
