from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error

from cryoembed.instances.markers import seeds, smoothed
from cryoembed.instances.multicut import Contacts, contacts, cut_probability, merge_fragments, solve_multicut
from cryoembed.instances.watershed import masked_watershed

from .scenes import balls, foam, maps


def test_seeds_are_the_centres_of_balls_also_in_a_corner() -> None:
    truth = balls((24, 24, 48), [(12, 12, 12), (12, 12, 36), (0, 0, 24)], [6, 8, 5])
    distance, _, _ = maps(truth, np.random.default_rng(0))
    mask = truth > 0
    found = seeds(smoothed(distance, mask, 1.0), mask, radius_vox=3)
    assert found.max() == 3
    for label in (1, 2, 3):
        assert (truth[found == label] == truth[found == label][0]).all()
    assert len({int(truth[found == label][0]) for label in (1, 2, 3)}) == 3


@pytest.mark.parametrize("fast", [True, False])
def test_watershed_stays_in_the_mask_and_keeps_its_seeds(fast: bool) -> None:
    if fast:
        pytest.importorskip("bioimage_cpp")
    truth = balls((24, 24, 48), [(12, 12, 14), (12, 12, 30)], [9, 8])
    distance, _, _ = maps(truth, np.random.default_rng(0))
    markers = np.zeros_like(truth)
    markers[12, 12, 14], markers[12, 12, 30] = 5, 9
    found = masked_watershed(-distance, markers, truth > 0, fast=fast)
    assert ((found > 0) == (truth > 0)).all()
    assert adapted_rand_error(truth, found)[0] < 0.01


def test_contacts_of_three_slabs_are_counted_and_measured() -> None:
    labels = np.zeros((4, 5, 9), dtype=np.int32)
    labels[..., :3], labels[..., 3:6], labels[..., 7:] = 1, 2, 3  # 2 and 3 do not touch
    boundary = np.zeros(labels.shape, dtype=np.float32)
    boundary[..., 2:4] = 0.5
    height = np.broadcast_to(np.arange(9, dtype=np.float32), labels.shape)
    graph = contacts(labels, boundary, height, np.ones_like(boundary))
    np.testing.assert_array_equal(graph.pairs, [[1, 2]])
    assert (graph.size[0], graph.boundary[0], graph.saddle[0]) == (20, 0.5, 2.0)


def test_the_rim_of_a_contact_counts_little() -> None:
    labels = np.ones((9, 9, 8), dtype=np.int32)
    labels[..., 4:] = 2
    depth = np.minimum.outer(4 - np.abs(np.arange(9) - 4), 4 - np.abs(np.arange(9) - 4))[..., None] + np.zeros(8)
    rim = (depth == 0).astype(np.float32)  # the surface of the body is boundary, the contact is not
    graph = contacts(labels, rim, np.ones_like(rim), depth)
    assert graph.boundary[0] == 0


def test_cut_probability_rises_with_the_boundary_and_with_the_neck() -> None:
    graph = Contacts(
        np.array([[1, 2], [2, 3], [3, 4]]), np.ones(3, int), np.array([0.9, 0.1, 0.1]), np.array([4.0, 4.0, 1.0])
    )
    wide_bounded, wide_free, narrow_free = cut_probability(graph, np.array([0, 4, 4, 4, 4.0]), shape_weight=0.5)
    assert wide_bounded > wide_free
    assert narrow_free > wide_free
    assert wide_free < 0.1


@pytest.mark.parametrize("fast", [True, False])
def test_multicut_of_a_chain_cuts_where_it_repels(fast: bool) -> None:
    if fast:
        pytest.importorskip("bioimage_cpp")
    groups = solve_multicut(5, np.array([[0, 1], [1, 2], [2, 3]]), np.array([1.0, -2.0, 1.0]), fast=fast)
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert groups[4] not in groups[:4]  # a node without edges stays alone


@pytest.mark.parametrize("fast", [True, False])
def test_multicut_joins_a_triangle_when_attraction_outweighs(fast: bool) -> None:
    if fast:
        pytest.importorskip("bioimage_cpp")
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    assert len(set(solve_multicut(3, pairs, np.array([3.0, 2.0, -1.0]), fast=fast))) == 1
    assert len(set(solve_multicut(3, pairs, np.array([3.0, 1.0, -2.0]), fast=fast))) == 2


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_improved_multicut_costs_no_more_than_greedy_contraction(seed: int) -> None:
    pytest.importorskip("bioimage_cpp")
    generator = np.random.default_rng(seed)
    pairs = np.array([(i, j) for i in range(12) for j in range(i + 1, 12) if generator.random() < 0.4])
    if not len(pairs):
        return
    costs = generator.normal(size=len(pairs))

    def energy(groups: np.ndarray) -> float:
        return float(costs[groups[pairs[:, 0]] != groups[pairs[:, 1]]].sum())

    fast, slow = (solve_multicut(12, pairs, costs, fast=fast) for fast in (True, False))
    assert energy(fast) <= energy(slow) + 1e-9
    assert energy(slow) <= 1e-9  # contraction stops only where no two groups attract


def test_merging_keeps_background_and_labels_without_contact() -> None:
    labels = foam(10, 20, np.random.default_rng(0))
    labels[:, :, :3] = 0
    graph = contacts(labels, *(np.ones(labels.shape, dtype=np.float32) for _ in range(3)))
    merged = merge_fragments(labels, graph, np.full(len(graph.pairs), 0.01), beta=0.5)
    assert ((merged > 0) == (labels > 0)).all()
    assert len(np.unique(merged)) == 2
    apart = merge_fragments(labels, graph, np.full(len(graph.pairs), 0.99), beta=0.5)
    np.testing.assert_array_equal(apart, labels)
