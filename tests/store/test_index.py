from __future__ import annotations

import builtins
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.store import EmbeddingStore, exact, index
from cryoembed.store.index import EmbeddingIndex, lloyd, load_faiss
from tests.store.planted import blobs, filled, key, particles, unit

needs_faiss = pytest.mark.skipif(load_faiss() is None, reason="FAISS is not installed")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 5), st.integers(1, 30), st.integers(1, 64), st.integers(0, 99))
def test_exact_search_equals_sorting_everything(n: int, q: int, k: int, block: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # small integers: exact arithmetic and many ties
    vectors = generator.integers(-2, 3, size=(n, 4)).astype(np.float32)
    queries = generator.integers(-2, 3, size=(q, 4)).astype(np.float32)
    before, exact._BLOCK_SCORES = exact._BLOCK_SCORES, block * q
    try:
        scores, rows = exact.search(vectors, queries, k)
    finally:
        exact._BLOCK_SCORES = before
    all_scores = queries @ vectors.T
    expected = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(scores, np.take_along_axis(all_scores, expected, axis=1))
    np.testing.assert_array_equal(rows, expected)


@needs_faiss
def test_flat_index_equals_the_exact_oracle(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "s", key(dim=32))
    for seed, name in enumerate("abc"):
        vectors = unit(np.random.default_rng(seed).normal(size=(150, 32)))
        store.add(name, vectors, particles(name, 150, seed))
    store.remove("a")
    queries = unit(np.random.default_rng(9).normal(size=(7, 32)))
    scores, ids = EmbeddingIndex.build(store).search(queries, 20)
    oracle_scores, rows = exact.search(store.vectors(), queries, 20)
    np.testing.assert_allclose(scores, oracle_scores, atol=1e-6)
    np.testing.assert_array_equal(ids, store.row_ids[rows])
    assert ids.min() >= 150, "rows of the removed tomogram are gone"


@needs_faiss
def test_inverted_lists_find_nearly_all_of_the_exact_answers(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "s", key(dim=16))
    vectors = blobs([100] * 16, dim=16, spread=0.15)[0]
    store.add("a", vectors, particles("a", len(vectors)))
    built = EmbeddingIndex.build(store, kind="ivf")
    scores, ids = EmbeddingIndex.load(store).search(vectors[::50], 10)
    assert EmbeddingIndex.load(store).kind == "ivf"
    assert len(built) == 1600
    _, rows = exact.search(vectors, vectors[::50], 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), rows.tolist(), strict=True)])
    assert recall > 0.95
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_every_stored_vector_finds_itself(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", n=8)
    scores, ids = EmbeddingIndex.load(store).search(store.vectors(), 1)
    np.testing.assert_array_equal(ids[:, 0], store.row_ids)
    np.testing.assert_allclose(scores, 1, atol=1e-5)


def test_more_answers_than_rows_are_cut(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    found = EmbeddingIndex.load(store)
    assert found.search(store.vectors()[0], 100)[1].shape == (1, 12)
    with pytest.raises(InputError, match="expected queries of 8 dimensions"):
        found.search(np.zeros((1, 5)), 3)
    empty = EmbeddingStore.create(tmp_path / "e", key())
    assert EmbeddingIndex.load(empty).search(np.zeros((2, 8)), 3)[1].shape == (2, 0)


@needs_faiss
def test_a_stale_index_is_never_served(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    EmbeddingIndex.load(store)
    saved = (store.path / "index.faiss").read_bytes()
    store.replace("b", blobs([6], seed=7)[0], particles("b", 6, 1))
    _, ids = EmbeddingIndex.load(store).search(store.vectors("b"), 1)
    np.testing.assert_array_equal(ids[:, 0], store.particles("b").table["row_id"])
    assert json.loads((store.path / "index.json").read_text())["content_hash"] == store.content_hash
    (store.path / "index.faiss").write_bytes(saved)  # right card, wrong index: a copy that went wrong
    _, ids = EmbeddingIndex.load(store).search(store.vectors("b"), 1)
    np.testing.assert_array_equal(ids[:, 0], store.particles("b").table["row_id"])


@needs_faiss
@pytest.mark.parametrize("damage", ["index.faiss", "index.json"])
def test_a_damaged_index_is_built_again(tmp_path: Path, damage: str) -> None:
    store = filled(tmp_path / "s")
    EmbeddingIndex.load(store)
    (store.path / damage).write_bytes(b"garbage")
    _, ids = EmbeddingIndex.load(store).search(store.vectors(), 1)
    np.testing.assert_array_equal(ids[:, 0], store.row_ids)


@needs_faiss
def test_a_fresh_index_is_read_and_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "s")
    EmbeddingIndex.load(store)
    monkeypatch.setattr(EmbeddingIndex, "build", None)
    assert len(EmbeddingIndex.load(EmbeddingStore.open(store.path))) == 12


@needs_faiss
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs folders that cannot be written")
def test_a_store_on_a_read_only_disk_can_be_searched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(tmp_path / "s")
    (store.path / ".lock").chmod(0o444)
    store.path.chmod(0o555)
    try:
        with caplog.at_level(logging.WARNING):
            assert len(EmbeddingIndex.load(store)) == 12
    finally:
        store.path.chmod(0o755)
    assert "not saved" in caplog.text


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("libcublas missing")])
def test_without_faiss_the_exact_search_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original = builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "faiss":
            raise error
        return original(name, *args, **kwargs)

    store = filled(tmp_path / "s")
    load_faiss.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refusing)
    try:
        found = EmbeddingIndex.load(store)
        centroids, assignment, _ = lloyd(blobs([5, 5])[0], blobs([5, 5])[0][[0, 5]], iterations=5, seed=0)
        assert index.gpu_count() == 0
    finally:
        monkeypatch.undo()
        load_faiss.cache_clear()
    assert found.kind == "exact"
    np.testing.assert_array_equal(found.search(store.vectors(), 1)[1][:, 0], store.row_ids)
    assert assignment.tolist() == [0] * 5 + [1] * 5
    assert centroids.shape == (2, 8)


@needs_faiss
def test_lloyd_lowers_the_inertia_and_says_it_right() -> None:
    vectors, _, _ = blobs([40, 40, 40], spread=0.2)
    start = vectors[[0, 1, 80]]
    centroids, assignment, inertia = lloyd(vectors, start, iterations=20, seed=0)
    distances = np.square(vectors[:, None] - centroids[None]).sum(-1)
    np.testing.assert_array_equal(assignment, distances.argmin(1))
    assert inertia == pytest.approx(distances.min(1).sum(), rel=1e-4)
    assert inertia < np.square(vectors[:, None] - start[None]).sum(-1).min(1).sum()
