"""Exact inner-product search in blocks of numpy: the oracle for every index, and the search where FAISS is missing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK_SCORES = 1 << 24  # scores held at once: 64 MiB


def search(
    vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The ``k`` rows of ``vectors`` with the highest inner product with each query.

    Parameters
    ----------
    vectors
        (n, d) float32; may be memory-mapped, it is read once, block by block.
    queries
        (q, d) float32.
    k
        Answers per query; at most n come back.

    Returns
    -------
    scores (q, min(k, n)) float32, best first, and rows of the same shape, int64; equal scores keep the lower row.
    """
    q, n = len(queries), len(vectors)
    k = min(k, n)
    if q == 0 or k == 0:
        return np.zeros((q, k), dtype=np.float32), np.zeros((q, k), dtype=np.int64)
    block = max(k, _BLOCK_SCORES // q)
    scores, rows = _best(queries @ vectors[:block].T, k)
    for start in range(block, n, block):
        found = queries @ vectors[start : start + block].T
        # a running threshold: after the first block hardly any score can still enter the list
        query, column = np.nonzero(found > scores[:, -1:])
        if len(query):
            scores, rows = _merge(scores, rows, query, found[query, column], column + start)
    return scores, rows


def _best(found: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if k < found.shape[1]:
        threshold = -np.partition(-found, k - 1, axis=1)[:, k - 1 : k]
        query, column = np.nonzero(found >= threshold)  # more than k where scores tie at the threshold
    else:
        query, column = np.nonzero(np.ones_like(found, dtype=bool))
    return _first_k(query, found[query, column], column, len(found), k)


def _merge(
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    query: npt.NDArray[np.int64],
    new_scores: npt.NDArray[np.float32],
    new_rows: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    q, k = scores.shape
    all_queries = np.concatenate([np.repeat(np.arange(q), k), query])
    all_scores, all_rows = np.concatenate([scores.ravel(), new_scores]), np.concatenate([rows.ravel(), new_rows])
    return _first_k(all_queries, all_scores, all_rows, q, k)


def _first_k(
    query: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], q: int, k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Best k of each query from a ragged list that holds at least k of each."""
    order = np.lexsort((rows, -scores, query))
    starts = np.searchsorted(query[order], np.arange(q))
    taken = order[starts[:, None] + np.arange(k)]
    return scores[taken], rows[taken].astype(np.int64)
