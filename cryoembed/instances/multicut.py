"""Merging over-segmented fragments: region graph, evidence for a boundary on each contact, multicut.

The multicut (CryoSiam, section 3.2; Andres et al. 2011; Beier et al. 2015 for the solvers) finds the partition of the
fragments with the least cost and needs neither a threshold per object nor the number of objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

try:
    import bioimage_cpp.graph as _graph
except ImportError:  # no wheel for Linux on aarch64
    _graph = None

Labels = npt.NDArray[np.int32]  # (z, y, x)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contacts:
    """The region graph of a label volume: which labels touch, and what lies on the contact.

    Parameters
    ----------
    pairs
        (n, 2) labels, the smaller first, sorted; background is no region.
    size
        (n,) voxel faces in contact.
    boundary
        (n,) mean of the boundary map over the contact, weighted.
    saddle
        (n,) highest point of the contact in the height map: the pass one must cross from one region to the other.
    """

    pairs: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    boundary: Floats
    saddle: Floats


def contacts(
    labels: Labels,
    boundary: npt.NDArray[np.floating],
    height: npt.NDArray[np.floating],
    weight: npt.NDArray[np.floating],
) -> Contacts:
    """Collect all face-to-face contacts between labels (all arrays (z, y, x)).

    ``weight`` says how much a voxel's boundary value counts. With the depth below the particle's surface, the rim of a
    contact counts little: there the surface itself is boundary, whether or not two particles meet.
    """
    keys, values = [], []
    top = int(labels.max(initial=0)) + 1
    for axis in range(3):
        near, far = _sides(axis)
        first, second = labels[near], labels[far]
        touching = (first != second) & (first > 0) & (second > 0)
        one, other = first[touching].astype(np.int64), second[touching].astype(np.int64)
        keys.append(np.minimum(one, other) * top + np.maximum(one, other))
        sides = [(boundary[side][touching], height[side][touching], weight[side][touching]) for side in (near, far)]
        (b0, h0, w0), (b1, h1, w1) = sides
        values.append(np.stack([b0 * w0 + b1 * w1, w0 + w1, np.minimum(h0, h1)]).astype(np.float64))
    key, value = np.concatenate(keys), np.concatenate(values, axis=1)
    unique, index, size = np.unique(key, return_inverse=True, return_counts=True)
    evidence = np.bincount(index, value[0], len(unique)) / np.maximum(np.bincount(index, value[1], len(unique)), 1e-12)
    saddle = np.full(len(unique), -np.inf)
    np.maximum.at(saddle, index, value[2])
    return Contacts(np.stack([unique // top, unique % top], axis=1), size, evidence, saddle)


def cut_probability(graph: Contacts, peak: Floats, *, shape_weight: float) -> Floats:
    """(n,) probability that a contact separates two particles.

    A mixture of the boundary map on the contact and of the neck: ``1 - saddle / lower peak`` is 0 between two halves of
    one convex body and grows as the passage between them narrows. ``peak`` is the highest point of each label.
    """
    lower = np.minimum(peak[graph.pairs[:, 0]], peak[graph.pairs[:, 1]])
    neck = np.clip(1 - graph.saddle / np.maximum(lower, 1e-12), 0, 1)
    return np.asarray((1 - shape_weight) * np.clip(graph.boundary, 0, 1) + shape_weight * neck)


def merge_fragments(labels: Labels, graph: Contacts, probability: Floats, *, beta: float) -> Labels:
    """Join fragments by the multicut of their region graph.

    The cost of a contact is ``log((1 - p) / p) + log((1 - beta) / beta)``: positive pulls together, negative apart.

    Parameters
    ----------
    labels
        (z, y, x) fragments; labels absent from the graph stay single.
    graph, probability
        From `contacts` and `cut_probability`.
    beta
        Prior in (0, 1): 0.5 is neutral, lower merges more.

    Returns
    -------
    (z, y, x) int32; the labels are not consecutive.
    """
    if not len(graph.pairs):
        return labels
    clipped = np.clip(probability, 1e-3, 1 - 1e-3)
    costs = np.log((1 - clipped) / clipped) + np.log((1 - beta) / beta)
    count = int(labels.max()) + 1
    nodes = solve_multicut(count, graph.pairs, costs)
    representative = np.zeros(int(nodes.max()) + 1, dtype=np.int32)
    representative[nodes[::-1]] = np.arange(count, dtype=np.int32)[::-1]  # the smallest label of each group
    table = representative[nodes]
    table[0] = 0
    return np.asarray(table[labels], dtype=np.int32)


def solve_multicut(
    nodes: int, pairs: npt.NDArray[np.int64], costs: Floats, *, fast: bool | None = None
) -> npt.NDArray[np.int64]:
    """(nodes,) group of each node: greedy additive edge contraction, improved by Kernighan-Lin where available.

    Positive costs attract. ``fast`` True takes bioimage-cpp, False the contraction written here, None what is there.
    """
    if _graph is None if fast is None else not fast:
        return _contract(nodes, pairs, costs)
    graph = _graph.UndirectedGraph(nodes)
    graph.insert_edges(np.ascontiguousarray(pairs, dtype=np.uint64))
    objective = _graph.multicut.MulticutObjective(graph, costs)
    solver = _graph.multicut.ChainedMulticutSolvers(
        [_graph.multicut.GreedyAdditiveMulticut(), _graph.multicut.KernighanLinMulticut()]
    )
    return np.asarray(solver.optimize(objective), dtype=np.int64)


def _contract(nodes: int, pairs: npt.NDArray[np.int64], costs: Floats) -> npt.NDArray[np.int64]:
    """Greedy additive edge contraction (Keuper et al. 2015): join the most attractive pair until none attracts."""
    import heapq

    parent = list(range(nodes))
    around: list[dict[int, float]] = [{} for _ in range(nodes)]
    for (one, other), cost in zip(pairs.tolist(), costs.tolist(), strict=True):
        around[one][other] = around[other][one] = around[one].get(other, 0.0) + cost
    heap = [
        (-cost, one, other) for one in range(nodes) for other, cost in around[one].items() if one < other and cost > 0
    ]
    heapq.heapify(heap)
    while heap:
        negative, one, other = heapq.heappop(heap)
        if around[one].get(other) != -negative:
            continue  # joined or changed since
        if len(around[one]) < len(around[other]):
            one, other = other, one
        parent[other] = one
        del around[one][other]
        for third, cost in around[other].items():
            if third == one:
                continue
            del around[third][other]
            total = around[one].get(third, 0.0) + cost
            around[one][third] = around[third][one] = total
            if total > 0:
                heapq.heappush(heap, (-total, one, third))
        around[other] = {}
    return np.asarray([_root(parent, node) for node in range(nodes)], dtype=np.int64)


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    near = tuple(slice(0, -1) if axis == other else slice(None) for other in range(3))
    far = tuple(slice(1, None) if axis == other else slice(None) for other in range(3))
    return near, far
