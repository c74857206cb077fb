"""The collapse monitor tells constant vectors from spread ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cryoembed.training.collapse import effective_dimensions, embedding_spread, has_collapsed


def test_random_directions_have_spread_one() -> None:
    vectors = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert embedding_spread(vectors) == pytest.approx(1.0, abs=0.02)
    assert effective_dimensions(vectors) == pytest.approx(32, rel=0.05)
    assert not has_collapsed(vectors)


def test_constant_embedder_is_flagged() -> None:
    noise = 0.01 * torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    assert has_collapsed(torch.ones(64, 32) + noise)


def test_scale_of_vectors_does_not_matter() -> None:
    vectors = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    assert embedding_spread(vectors) == pytest.approx(embedding_spread(vectors * 1e3), rel=1e-5)


def test_line_of_vectors_has_one_effective_dimension() -> None:
    line = torch.linspace(-1, 1, 50)[:, None] * torch.ones(1, 16)
    assert effective_dimensions(line) == pytest.approx(1.0, rel=1e-4)


def test_siamese_training_without_stop_gradient_is_flagged() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.5, momentum=0.9)
    data = torch.randn(64, 16)
    assert not has_collapsed(encoder(data) - encoder(data).mean(0))
    for _ in range(200):
        views = [encoder(data + 0.5 * torch.randn_like(data)) for _ in range(2)]
        loss = -nn.functional.cosine_similarity(views[0], views[1]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert has_collapsed(encoder(data))
