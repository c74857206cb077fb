"""Supervised heads of the voxel network, all in one training (thesis, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cryoembed.config import Config
from cryoembed.losses.segmentation import (
    DiceKind,
    binary_cross_entropy,
    instance_loss,
    semantic_loss,
    squared_error,
)
from cryoembed.models.config import Head
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.heads import class_weights
from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES
from cryoembed.training.objectives.recall import RecallTally
from cryoembed.training.objectives.terms import Terms, detached

Frozen = Literal["none", "encoder", "all_but_heads"]


class SemanticConfig(Config):
    """The loss of the semantic head; the defaults are the thesis' (equation 12)."""

    dice: DiceKind = Field("generalised", description="or mean: every class that a batch has counts alike")
    balance: float = Field(0.0, ge=0, le=1, description="cross-entropy of a class is weighted by prior ** -balance")


class Heads(nn.Module):
    """Equations 8, 12 and 16 and the lamella's cross-entropy, summed for the heads asked for (plainly, as there).

    Recall and precision of the masks and the recall of every class go to the log.

    Parameters
    ----------
    frozen
        ``encoder`` keeps the backbone (thesis, section 4.3.2: decoder and heads are trained), ``all_but_heads`` the
        feature pyramid, too.
    semantic
        Terms of the semantic head's loss.
    quiet
        Batches before a class that is never found is warned of.
    """

    class_weights: Tensor

    def __init__(
        self,
        network: VoxelNetwork,
        tasks: Sequence[Head],
        *,
        frozen: Frozen = "none",
        semantic: SemanticConfig | None = None,
        quiet: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.tasks = network, tuple(tasks)
        trained = [self.network.heads[task] for task in tasks]
        if frozen != "all_but_heads":
            trained.append(self.network.pyramid)
        if frozen == "none":
            trained.append(self.network.backbone)
        if "semantic" in tasks:
            self.recall = RecallTally(SEMANTIC_CLASSES, quiet=quiet)
            self.semantic = semantic or SemanticConfig()
            self.register_buffer("class_weights", class_weights(self.semantic.balance), persistent=False)
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
        logged: Terms = {}
        for name in ("boundary", "foreground") if "instance" in self.tasks else ():
            logged |= _mask_scores(name, outputs[name], batch[name])
        if "semantic" in self.tasks:
            known = batch["classes"] < IGNORED
            classes = torch.where(known, batch["classes"], 0).long()
            semantic = semantic_loss(
                outputs["semantic"],
                outputs["semantic_distance"],
                classes=classes,
                distance_target=batch["semantic_distance"],
                known=known,
                class_weights=self.class_weights,
                dice=self.semantic.dice,
            )
            terms |= {"cross_entropy": semantic.cross_entropy, "dice": semantic.dice}
            terms["semantic_distance"] = semantic.distance
            if self.training:
                found = outputs["semantic"].detach().argmax(dim=1, keepdim=True)
                logged |= self.recall(found[known], classes[known])
        if "lamella" in self.tasks:
            known = batch["inside"] < IGNORED
            inside = torch.where(known, batch["inside"], 0.0)
            terms["lamella"] = binary_cross_entropy(outputs["lamella"], inside, known)
            logged |= _mask_scores("lamella", outputs["lamella"], inside, known)
        loss = torch.stack(list(terms.values())).sum()
        return {"loss": loss, **detached(terms), **logged}


def _mask_scores(name: str, logits: Tensor, truth: Tensor, known: Tensor | bool = True) -> Terms:
    found, true = (logits.detach() > 0) & known, (truth > 0.5) & known
    both = (found & true).sum()
    return {f"{name}_recall": both / true.sum().clamp(min=1), f"{name}_precision": both / found.sum().clamp(min=1)}
