"""Has a siamese network collapsed? The spread of its normalised vectors tells (Chen and He 2021, section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COLLAPSED_BELOW = 0.1


def embedding_spread(vectors: Tensor) -> float:
    """Mean over dimensions of the s.d. of L2-normalised vectors, times sqrt(d).

    Parameters
    ----------
    vectors
        (n, d) with n >= 2, any scale.

    Returns
    -------
    float
        About 1 for vectors spread over the sphere, 0 for a constant output.
    """
    unit = torch.nn.functional.normalize(vectors.detach().float(), dim=1)
    return float(unit.std(dim=0).mean()) * math.sqrt(unit.shape[1])


def effective_dimensions(vectors: Tensor) -> float:
    """Participation ratio of the covariance's eigenvalues of normalised vectors: d if all count alike, 1 for a line."""
    unit = torch.nn.functional.normalize(vectors.detach().float(), dim=1)
    eigenvalues = torch.linalg.svdvals(unit - unit.mean(dim=0)).square()
    total = eigenvalues.sum()
    return float(total.square() / eigenvalues.square().sum()) if total > 0 else 0.0


def has_collapsed(vectors: Tensor) -> bool:
    """Whether the spread of the vectors is below `COLLAPSED_BELOW`."""
    return embedding_spread(vectors) < COLLAPSED_BELOW
