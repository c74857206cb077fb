"""What each method minimises: a network and its loss as one module, so that the loop knows neither."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cryoembed.losses.contrastive import supervised_contrastive
from cryoembed.losses.cosine import overlap_loss, symmetric_loss, total_loss
from cryoembed.losses.segmentation import instance_loss, squared_error
from cryoembed.models.config import Head
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.simsiam import SubtomogramNetwork

Terms = dict[str, Tensor]
MONITORED_VOXELS = 256


class DenseSimSiam(nn.Module):
    """Equation 7 over two overlapping views; ``global``, ``dense`` and ``level`` parts go to the log."""

    def __init__(self, network: VoxelNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Terms) -> Terms:
        a, b = self.network(batch["view_a"]), self.network(batch["view_b"])
        regions = batch["overlap_a"].cpu(), batch["overlap_b"].cpu()
        levels = [
            overlap_loss(
                a.levels[stride].predicted,
                a.levels[stride].projected,
                b.levels[stride].predicted,
                b.levels[stride].projected,
                *regions,
                stride=stride,
            )
            for stride in a.levels
        ]
        terms = total_loss(
            symmetric_loss(a.whole.predicted, a.whole.projected, b.whole.predicted, b.whole.projected),
            overlap_loss(a.dense.predicted, a.dense.projected, b.dense.predicted, b.dense.projected, *regions),
            levels,
        )
        logged = {"global": terms.whole, "dense": terms.dense, "level": terms.levels}
        return {"loss": terms.total, "embeddings": _some_voxels(a.dense.projected), **_detached(logged)}


class SimSiam(nn.Module):
    """Equation 2 over two views of each subtomogram."""

    def __init__(self, network: SubtomogramNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Terms) -> Terms:
        a, b = self.network(batch["view_a"]), self.network(batch["view_b"])
        loss = symmetric_loss(a.predicted, a.projected, b.predicted, b.projected)
        return {"loss": loss, "embeddings": torch.cat([a.projected, b.projected]).detach()}


class Contrastive(nn.Module):
    """Supervised contrastive loss of the embedding itself (no predictor); ``purity`` is logged.

    ``purity`` is the share of boxes whose nearest other box in the batch is of their class.
    """

    def __init__(self, network: SubtomogramNetwork, *, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, batch: Terms) -> Terms:
        vectors = self.network.project(batch["input"])
        loss = supervised_contrastive(vectors, batch["label"], temperature=self.temperature)
        return {"loss": loss, "embeddings": vectors.detach(), "purity": _purity(vectors, batch["label"])}


class Heads(nn.Module):
    """Equations 8 and 16 together, for the heads asked for; recall and precision of the masks go to the log."""

    def __init__(self, network: VoxelNetwork, tasks: Sequence[Head], *, freeze_encoder: bool) -> None:
        super().__init__()
        self.network, self.tasks, self.freeze_encoder = network, tuple(tasks), freeze_encoder
        trained = [self.network.heads[task] for task in tasks]
        if not freeze_encoder:
            trained += [self.network.backbone, self.network.pyramid]
        # projectors and predictors serve self-supervision; without a gradient they keep their weights
        self.network.requires_grad_(False)
        for part in trained:
            part.requires_grad_(True)
        self._trained = trained

    def train(self, mode: bool = True) -> Heads:
        """Frozen parts stay in evaluation mode, or batch statistics would change them all the same."""
        super().train(False)
        self.training = mode
        for part in self._trained:
            part.train(mode)
        return self

    def forward(self, batch: Terms) -> Terms:
        outputs = self.network.forward_heads(batch["input"], self.tasks)
        terms: Terms = {}
        if "denoise" in self.tasks:
            terms["denoise"] = squared_error(outputs["denoise"], batch["clean"])
        if "instance" in self.tasks:
            instance = instance_loss(
                outputs["distance"],
                outputs["boundary"],
                outputs["foreground"],
                distance_target=batch["distance"],
                boundary_target=batch["boundary"],
                foreground_target=batch["foreground"],
            )
            terms |= {"distance": instance.distance, "boundary": instance.boundary, "foreground": instance.foreground}
        loss = torch.stack(list(terms.values())).sum()
        logged = _detached(terms)
        for name in ("boundary", "foreground") if "instance" in self.tasks else ():
            logged |= _mask_scores(name, outputs[name], batch[name])
        return {"loss": loss, **logged}


def _some_voxels(maps: Tensor) -> Tensor:
    """(n, d) evenly spaced voxels of (b, d, z, y, x) maps."""
    vectors = maps.detach().flatten(2).transpose(1, 2).flatten(0, 1)
    return vectors[:: max(1, len(vectors) // MONITORED_VOXELS)]


def _purity(vectors: Tensor, labels: Tensor) -> Tensor:
    unit = nn.functional.normalize(vectors.detach().float(), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    return (labels[nearest] == labels).float().mean()


def _mask_scores(name: str, logits: Tensor, truth: Tensor) -> Terms:
    found, true = logits.detach() > 0, truth > 0.5
    both = (found & true).sum()
    return {f"{name}_recall": both / true.sum().clamp(min=1), f"{name}_precision": both / found.sum().clamp(min=1)}


def _detached(terms: Terms) -> Terms:
    return {name: value.detach() for name, value in terms.items()}
