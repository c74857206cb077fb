"""Denoising without clean truth: the target is another noisy recording, or the voxels that the input hides."""

from __future__ import annotations

import torch
from torch import Tensor

from cryoembed.losses.segmentation import squared_error
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.training.objectives.heads import Heads
from cryoembed.training.objectives.terms import Terms


class SelfDenoising(Heads):
    """Squared error to a noisy target, whose least is reached by the expected signal (Noise2Noise, section 2).

    Batches hold ``input`` and ``target`` (b, 1, z, y, x), ``weight`` where only some voxels count, and all of these
    again from rows held out of the training (``held_out_...``). The log gets the error there (``held_out``), with the
    batch statistics of inference, and what the mean alone would reach (``held_out_mean``).
    """

    def __init__(self, network: VoxelNetwork) -> None:
        super().__init__(network, ("denoise",))

    def forward(self, batch: Terms) -> Terms:
        loss = squared_error(self._denoised(batch["input"]), batch["target"], batch.get("weight"))
        return {"loss": loss, **self._held_out(batch)}

    def _denoised(self, noisy: Tensor) -> Tensor:
        return self.network.forward_heads(noisy, self.tasks)["denoise"]

    @torch.no_grad()
    def _held_out(self, batch: Terms) -> Terms:
        target, weight = batch["held_out_target"], batch.get("held_out_weight")
        training = self.training
        self.train(False)
        try:
            error = squared_error(self._denoised(batch["held_out_input"]), target, weight)
        finally:
            self.train(training)
        return {"held_out": error, "held_out_mean": squared_error(torch.zeros_like(target), target, weight)}
