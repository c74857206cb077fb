"""What every encoder of boxes shares, whatever its backbone: pooled features, a projector, a vector of length one."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.config import SubtomogramEncoderConfig


class SubtomogramEncoder(nn.Module):
    """Base of the networks that `infer.vectors` runs.

    ``backbone`` is the part that may be folded, laid out otherwise or cast to bf16 (`fast_parts`); pooling and
    ``projector`` stay in float32. A network sets both and says how it pools.
    """

    config: SubtomogramEncoderConfig
    backbone: nn.Module
    projector: nn.Module

    @property
    def fast_parts(self) -> list[nn.Module]:
        """The parts that inference may lay out otherwise or cast, in place."""
        return [self.backbone]

    def pool(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c"]:
        """Return the float32 mean of the backbone's features over the box."""
        raise NotImplementedError

    def project(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d"]:
        """Return the projector's output for boxes, not normalised."""
        pooled = self.pool(x)
        first = next(self.projector.parameters(), pooled)
        return cast(Tensor, self.projector(pooled.to(first.dtype)))

    def embed(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d"]:
        """Return the L2-normalised float32 embedding of boxes, as the EmbeddingStore keeps it."""
        return F.normalize(self.project(x).float(), dim=1)
