"""Objectives that push vectors apart: classes of phantoms and structures, or pairs.

Label-free boxes of real tomograms (``real_a``, ``real_b``) go through the network with the labelled ones, so that both
share batch statistics, but meet only each other in a loss of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryoembed.losses.contrastive import contrastive_margin, normalised_softmax, nt_xent, supervised_contrastive
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.training.objectives.terms import Terms, detached

PROXY_NORM = 0.1  # at the start: proxies are normalised, so that short ones turn faster than the network learns


class Contrastive(nn.Module):
    """Supervised contrastive loss of the embedding itself (no predictor); ``purity`` is logged.

    ``purity`` is the share of boxes whose nearest other box in the batch is of their class.

    Parameters
    ----------
    classes
        Number of labels; > 0 adds a learnt proxy for each of them and the normalised softmax over all (Zhai & Wu 2019).
        Proxies serve training only.
    shapes
        (k, dims) what the first k classes look like (`shape_descriptors`); a linear layer learns to read it from the
        vectors, so that what looks alike lies together, seen in training or not. The layer serves training only.
    shape_weight
        Of the mean squared error of that reading.
    """

    shapes: Tensor | None

    def __init__(
        self,
        network: SubtomogramEncoder,
        *,
        temperature: float,
        real_weight: float = 1.0,
        classes: int = 0,
        shapes: Tensor | None = None,
        shape_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature, self.real_weight, self.shape_weight = temperature, real_weight, shape_weight
        self.register_buffer("shapes", shapes, persistent=False)  # made of the settings, again when resumed
        self.shape_reader = None if shapes is None else nn.Linear(network.config.embedding_dim, shapes.shape[1])
        directions = nn.functional.normalize(torch.randn(classes, network.config.embedding_dim), dim=1)
        self.proxies = nn.Parameter(PROXY_NORM * directions) if classes else None

    def forward(self, batch: Terms) -> Terms:
        vectors, real = _projected(self.network, batch)
        labels = batch["label"]
        loss = supervised_contrastive(vectors, labels, temperature=self.temperature)
        parts: Terms = {}
        if self.proxies is not None:
            proxy = normalised_softmax(vectors, self.proxies, labels, temperature=self.temperature)
            parts = detached({"pairs": loss, "proxy": proxy})
            loss = loss + proxy
        if self.shapes is not None:
            shape = self._shape_error(vectors, labels)
            parts |= detached({"shape": shape})
            loss = loss + self.shape_weight * shape
        terms = _with_real(loss, real, temperature=self.temperature, weight=self.real_weight) | parts
        return {**terms, "embeddings": vectors.detach(), "purity": _purity(vectors, labels)}

    def _shape_error(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error of the shapes read from vectors of length one; boxes of nothing have none."""
        assert self.shapes is not None
        assert self.shape_reader is not None
        shaped = labels < len(self.shapes)
        if not shaped.any():
            return vectors.sum() * 0
        unit = nn.functional.normalize(vectors[shaped].float(), dim=1)
        read = self.shape_reader(unit * unit.shape[1] ** 0.5)  # entries of about 1, as linear layers expect
        return nn.functional.mse_loss(read.float(), self.shapes[labels[shaped]])


class Refinement(nn.Module):
    """Equations 17 and 18 of the thesis over anchors, others of their class, and others of their size.

    ``input`` holds anchors, positives and negatives, a third each.
    """

    def __init__(
        self, network: SubtomogramEncoder, *, margin: float, temperature: float, real_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.network = network
        self.margin, self.temperature, self.real_weight = margin, temperature, real_weight

    def forward(self, batch: Terms) -> Terms:
        vectors, real = _projected(self.network, batch)
        anchors, positives, negatives = vectors.chunk(3)
        same = torch.arange(2 * len(anchors), device=vectors.device) < len(anchors)
        loss = contrastive_margin(anchors.repeat(2, 1), torch.cat([positives, negatives]), same, margin=self.margin)
        terms = _with_real(loss, real, temperature=self.temperature, weight=self.real_weight)
        return {**terms, "embeddings": vectors.detach(), "purity": _purity(vectors, batch["label"])}


class SimCLR(nn.Module):
    """NT-Xent between two views of each subtomogram (Chen et al. 2020), no predictor."""

    def __init__(self, network: SubtomogramEncoder, *, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, batch: Terms) -> Terms:
        vectors = self.network.project(torch.cat([batch["view_a"], batch["view_b"]]))
        return {"loss": nt_xent(*vectors.chunk(2), temperature=self.temperature), "embeddings": vectors.detach()}


Pair = tuple[Tensor, Tensor]


def _projected(network: SubtomogramEncoder, batch: Terms) -> tuple[Tensor, Pair | None]:
    """Vectors of the labelled boxes, and of both views of the real ones where there are any."""
    if "real_a" not in batch:
        return network.project(batch["input"]), None
    vectors = network.project(torch.cat([batch["input"], batch["real_a"], batch["real_b"]]))
    count = len(batch["input"])
    first, second = vectors[count:].chunk(2)
    return vectors[:count], (first, second)


def _with_real(loss: Tensor, real: Pair | None, *, temperature: float, weight: float) -> Terms:
    """``loss``, and its two parts for the log where there are real boxes."""
    if real is None:
        return {"loss": loss}
    apart = nt_xent(*real, temperature=temperature)
    return {"loss": loss + weight * apart, **detached({"labelled": loss, "real": apart})}


def _purity(vectors: Tensor, labels: Tensor) -> Tensor:
    unit = nn.functional.normalize(vectors.detach().float(), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    return (labels[nearest] == labels).float().mean()
