"""Reconstruct hidden patches: masked-autoencoder pretraining of the vision transformer.

SaSi (section 4.2) takes 3D-MAE as an architecture and prints no loss of its pretraining; this is He et al. 2022,
section 3. Masks come with the batch (`views.masking`), so that they depend on seed and batch number alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from cryoembed.losses.masked import masked_error, normalised_patches
from cryoembed.models.vit import MaskedAutoencoder
from cryoembed.training.objectives.terms import Terms


class Reconstruction(nn.Module):
    """Squared error of masked patches; ``explained`` is the share of the target's variance that is predicted.

    The boxes are noisy and noise cannot be guessed: ``explained`` stays well below 1.
    """

    def __init__(self, network: MaskedAutoencoder, *, normalised_target: bool) -> None:
        super().__init__()
        self.network = network
        self.normalised_target = normalised_target

    def forward(self, batch: Terms) -> Terms:
        predicted = self.network(batch["input"], batch["visible"])
        target = self.network.target(batch["input"])
        if self.normalised_target:
            target = normalised_patches(target)
        loss = masked_error(predicted, target, batch["visible"])
        return {"loss": loss, "explained": _explained(loss, target)}


def _explained(loss: Tensor, target: Tensor) -> Tensor:
    return 1 - loss.detach() / target.detach().float().var(correction=0).clamp(min=1e-6)
