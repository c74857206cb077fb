"""Worm-like chains obey their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.scene.worm_like import worm_like_chain


@pytest.mark.parametrize(("step", "persistence"), [(20.0, 500.0), (100.0, 150.0), (300.0, 100.0)])
def test_tangents_of_a_worm_like_chain_forget_their_direction_exponentially(step, persistence):
    generator = np.random.default_rng(1)
    chains = np.stack([worm_like_chain(20, step, persistence, generator) for _ in range(3000)])
    tangents = np.diff(chains, axis=1) / step
    for lag in (1, 2, 5, 10):
        found = (tangents[:, :-lag] * tangents[:, lag:]).sum(axis=2).mean()
        assert found == pytest.approx(np.exp(-lag * step / persistence), abs=0.015)


def test_worm_like_chains_have_the_mean_square_end_to_end_distance_of_their_formula():
    generator = np.random.default_rng(2)
    step, steps, persistence = 10.0, 200, 500.0
    ends = np.stack([worm_like_chain(steps, step, persistence, generator)[-1] for _ in range(3000)])
    length = steps * step
    expected = 2 * persistence * length * (1 - persistence / length * (1 - np.exp(-length / persistence)))
    squared = (ends**2).sum(axis=1)
    assert abs(squared.mean() - expected) < 4 * squared.std() / np.sqrt(len(squared))
    assert squared.mean() == pytest.approx(expected, rel=0.05)


def test_first_step_goes_where_it_is_told(generator):
    nodes = worm_like_chain(3, 10.0, 50.0, generator, start=(1, 2, 3), direction=(0, 0, 2))
    assert np.allclose(nodes[:2], [(1, 2, 3), (1, 2, 13)])


@pytest.mark.parametrize("bad", [(0, 10.0, 50.0), (5, 0.0, 50.0), (5, 10.0, -1.0)])
def test_a_chain_of_nothing_is_an_error(bad, generator):
    with pytest.raises(InputError, match="must be positive"):
        worm_like_chain(*bad, generator)
