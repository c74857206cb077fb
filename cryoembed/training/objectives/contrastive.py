"""Objectives that push vectors apart: classes of phantoms and structures, or pairs."""

from __future__ import annotations

from torch import Tensor, nn

from cryoembed.losses.contrastive import supervised_contrastive
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.training.objectives.terms import Terms


class Contrastive(nn.Module):
    """Supervised contrastive loss of the embedding itself (no predictor); ``purity`` is logged.

    ``purity`` is the share of boxes whose nearest other box in the batch is of their class.
    """

    def __init__(self, network: SubtomogramEncoder, *, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, batch: Terms) -> Terms:
        vectors = self.network.project(batch["input"])
        loss = supervised_contrastive(vectors, batch["label"], temperature=self.temperature)
        return {"loss": loss, "embeddings": vectors.detach(), "purity": _purity(vectors, batch["label"])}


def _purity(vectors: Tensor, labels: Tensor) -> Tensor:
    unit = nn.functional.normalize(vectors.detach().float(), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    return (labels[nearest] == labels).float().mean()
