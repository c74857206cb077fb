"""Supervised heads of the voxel network, all in one training (thesis, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cryoembed.losses.segmentation import instance_loss, squared_error
from cryoembed.models.config import Head
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.training.objectives.terms import Terms, detached


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
        logged = detached(terms)
        for name in ("boundary", "foreground") if "instance" in self.tasks else ():
            logged |= _mask_scores(name, outputs[name], batch[name])
        return {"loss": loss, **logged}


def _mask_scores(name: str, logits: Tensor, truth: Tensor) -> Terms:
    found, true = logits.detach() > 0, truth > 0.5
    both = (found & true).sum()
    return {f"{name}_recall": both / true.sum().clamp(min=1), f"{name}_precision": both / found.sum().clamp(min=1)}
