"""SimSiam on subtomograms: one vector per box (thesis, section 3.2, equations 1 and 2)."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from cryoembed.models.backbone import Backbone, global_average
from cryoembed.models.config import SubtomogramNetworkConfig
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.models.projector import Projection, vector_predictor, vector_projector


class SubtomogramNetwork(SubtomogramEncoder):
    """Backbone, global average pooling, projector; the predictor serves training only."""

    def __init__(self, config: SubtomogramNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        self.projector = vector_projector(config.backbone.channels[-1], config.embedding_dim)
        self.predictor = vector_predictor(config.embedding_dim)

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Projection:
        """Embed boxes for self-supervision: ``Z`` and ``P`` of equation 1, not normalised."""
        projected = self.project(x)
        return Projection(projected, self.predict(projected))

    def pool(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c"]:
        """Return the mean of the last stage over the box, in float32."""
        return global_average(self.backbone(standardised(x))[-1])

    def predict(self, projected: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return what the predictor makes of projected vectors."""
        return cast(Tensor, self.predictor(projected))


def standardised(x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b 1 z y x"]:
    """Return each box with mean 0 and s.d. 1, so that vectors do not depend on gold, ice or scale elsewhere."""
    deviation, mean = torch.std_mean(x.float(), dim=(1, 2, 3, 4), keepdim=True, correction=0)
    return ((x.float() - mean) / deviation.clamp(min=1e-6)).to(x.dtype)
