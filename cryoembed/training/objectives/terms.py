"""What an objective returns: ``loss``, scalars for the log, and the vectors that the collapse monitor watches."""

from __future__ import annotations

from torch import Tensor

Terms = dict[str, Tensor]


def detached(terms: Terms) -> Terms:
    """Return the terms without their graph, for the log."""
    return {name: value.detach() for name, value in terms.items()}
