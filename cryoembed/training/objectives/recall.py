"""Is any class being forgotten? Recall per class over the last steps, with a warning where it is next to nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

MEMORY = 0.98  # per batch: recall is that of about the last fifty
LOST_BELOW = 0.01
CHECK_EVERY = 50  # batches; looking at a value waits for the device
FEWEST = 200.0  # voxels of a class, remembered ones, below which its recall says nothing


class RecallTally(nn.Module):
    """Running recall of each class; its counts are part of a checkpoint, so that a resumed training logs the same.

    The background-collapse guard of the heads: a network that names everything background has a fine mean accuracy.

    Parameters
    ----------
    names
        Of the classes, in order of their numbers.
    quiet
        Batches before the first warning: every network predicts nothing of rare classes at first.
    """

    hits: Tensor
    seen: Tensor
    batches: Tensor

    def __init__(self, names: Sequence[str], *, quiet: int) -> None:
        super().__init__()
        self.names, self.quiet = tuple(names), quiet
        self.register_buffer("hits", torch.zeros(len(names)))
        self.register_buffer("seen", torch.zeros(len(names)))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._warned: set[str] = set()

    @torch.no_grad()
    def forward(self, found: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Take in class numbers, predicted and true, of any equal shape; return ``recall_NAME`` of classes seen so far."""
        right = torch.bincount(true[found == true].flatten(), minlength=len(self.names))
        there = torch.bincount(true.flatten(), minlength=len(self.names))
        self.hits.mul_(MEMORY).add_(right)
        self.seen.mul_(MEMORY).add_(there)
        self.batches += 1
        recall = self.hits / self.seen.clamp(min=torch.finfo(self.seen.dtype).tiny)
        if int(self.batches) > self.quiet and int(self.batches) % CHECK_EVERY == 0:
            self._warn(recall)
        # a class not seen yet has no recall to log; one that was is remembered
        return {f"recall_{name}": recall[row].clone() for row, name in enumerate(self.names) if self.seen[row] > 0}

    def _warn(self, recall: Tensor) -> None:
        for row, name in enumerate(self.names):
            lost = float(self.seen[row]) > FEWEST and float(recall[row]) < LOST_BELOW
            if lost and name not in self._warned:
                logger.warning(
                    "batch %d: the network finds %.2f %% of the voxels of class %s: raise data.balanced_share, or show it "
                    "more of them",
                    int(self.batches),
                    100 * float(recall[row]),
                    name,
                )
            (self._warned.add if lost else self._warned.discard)(name)
