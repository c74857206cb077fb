"""Contrastive losses on vectors: NT-Xent (SimCLR), supervised contrastive (Khosla et al.), proxies, margin; float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def nt_xent(
    vectors_a: Float[Tensor, "n d"], vectors_b: Float[Tensor, "n d"], *, temperature: float = 0.5
) -> Float[Tensor, ""]:
    """Return the normalised temperature-scaled cross-entropy of two views (Chen et al. 2020, equation 1).

    Row i of both is the same sample; the other ``2 n - 2`` vectors are its negatives. Vectors need no normalisation.
    """
    count = len(vectors_a)
    logits = _similarities(torch.cat([vectors_a, vectors_b]), temperature)
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits, partner)


def supervised_contrastive(
    vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Return the supervised contrastive loss with the sum outside the logarithm (Khosla et al. 2020, equation 2).

    Parameters
    ----------
    vectors
        Normalised here.
    labels
        Class of each vector. Anchors that are alone in their class are left out; if all are, the loss is 0.
    temperature
        Divides the cosine similarities.
    """
    log_shares = F.log_softmax(_similarities(vectors, temperature), dim=1)
    positive: Bool[Tensor, "n n"] = labels[:, None] == labels[None, :]
    positive = positive & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    partners = positive.sum(dim=1)
    # where, not a product: the diagonal is minus infinity
    per_anchor = -torch.where(positive, log_shares, 0.0).sum(dim=1) / partners.clamp_min(1)
    return per_anchor.sum() / (partners > 0).sum().clamp_min(1)


def normalised_softmax(
    vectors: Float[Tensor, "n d"],
    proxies: Float[Tensor, "c d"],
    labels: Int[Tensor, " n"],
    *,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of cosines to one learnt proxy per class (Zhai & Wu 2019, normalised softmax).

    Every class is a negative in every batch, whichever are drawn.

    Parameters
    ----------
    vectors, proxies
        Normalised here.
    labels
        Row of ``proxies`` that each vector belongs to.
    temperature
        Divides the cosine similarities.
    """
    if temperature <= 0:
        raise ValueError(f"temperature {temperature} must be positive")
    with torch.autocast(vectors.device.type, enabled=False):
        cosines = F.normalize(vectors.float(), dim=1) @ F.normalize(proxies.float(), dim=1).T
        return F.cross_entropy(cosines / temperature, labels)


def contrastive_margin(
    vectors_a: Float[Tensor, "n d"], vectors_b: Float[Tensor, "n d"], same: Bool[Tensor, " n"], *, margin: float = 1.0
) -> Float[Tensor, ""]:
    """Return the mean contrastive loss of pairs on the unit sphere (CryoSiam thesis, equations 17 and 18).

    ``y d^2 + (1 - y) max(0, margin - d)^2`` with ``d = |e1 - e2|``: pairs that belong together (y = 1) are drawn
    together, others pushed apart until ``margin``.

    Parameters
    ----------
    vectors_a, vectors_b
        Row i of both is a pair. Normalised here, so that d lies between 0 and 2.
    same
        Whether each pair is of one class.
    """
    if margin <= 0:
        raise ValueError(f"margin {margin} must be positive")
    with torch.autocast(vectors_a.device.type, enabled=False):
        squared = (F.normalize(vectors_a.float(), dim=1) - F.normalize(vectors_b.float(), dim=1)).square().sum(dim=1)
        distance = squared.clamp_min(1e-12).sqrt()  # the root has no gradient at 0
        return torch.where(same, squared, (margin - distance).clamp_min(0).square()).mean()


def _similarities(vectors: Tensor, temperature: float) -> Tensor:
    """Cosines over temperature; a vector is never compared with itself."""
    if temperature <= 0:
        raise ValueError(f"temperature {temperature} must be positive")
    with torch.autocast(vectors.device.type, enabled=False):
        unit = F.normalize(vectors.float(), dim=1)
        cosines = unit @ unit.T / temperature
    return cosines.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf)
