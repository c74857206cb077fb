from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoembed.errors import InputError
from cryoembed.particles import Particles, particle_ids
from cryoembed.preprocess.config import InputConfig
from cryoembed.store import EmbeddingStore, TomogramSource
from cryoembed.store.lock import exclusive
from tests.store.planted import blobs, filled, key, particles


def test_what_goes_in_comes_out_aligned(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "s", key())
    vectors, picks = blobs([5])[0], particles("TS_1", 5)
    source = TomogramSource(shape=(10, 20, 30), voxel_size=10.0, origin=(720.0, 960.0, 960.0), contrast="dark")
    rows = store.add("TS_1", vectors, picks, source=source, record={"threshold": 0.5})
    again = EmbeddingStore.open(tmp_path / "s", key())
    np.testing.assert_array_equal(again.vectors("TS_1"), vectors)
    assert isinstance(again.vectors("TS_1"), np.memmap)
    np.testing.assert_array_equal(again.particles("TS_1").positions_zyx, picks.positions_zyx)
    assert again.particles().table["row_id"].tolist() == rows.tolist() == [0, 1, 2, 3, 4]
    assert list(again.particles().table["particle_id"]) == particle_ids("TS_1", picks.positions_zyx, "a" * 16)
    assert again.source("TS_1") == source
    assert again.record("TS_1") == {"threshold": 0.5}
    assert again.damaged() == []


def test_instances_are_kept_with_the_shard(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "s", key())
    labels = np.zeros((4, 5, 6), dtype=np.int32)
    labels[1, 2, 3] = 7
    store.add("a", blobs([2])[0], particles("a", 2), instances=labels)
    np.testing.assert_array_equal(store.instances("a"), labels)


def test_row_ids_are_never_used_twice(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    seen = set(store.row_ids.tolist())
    store.remove("b")
    for action in (store.add, store.replace):
        rows = set(action("b", blobs([4])[0], particles("b", 4)).tolist())
        assert not rows & seen
        seen |= rows
    assert len(EmbeddingStore.open(tmp_path / "s").row_ids) == len(store) == 10


def test_replace_keeps_particle_ids_and_the_place_of_the_tomogram(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    before = store.particles("a").table["particle_id"].tolist()
    store.replace("a", blobs([6], seed=5)[0], particles("a", 6, 0))
    assert store.tomograms == ["a", "b"]
    assert store.particles("a").table["particle_id"].tolist() == before


def test_an_empty_tomogram_is_remembered(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "s", key())
    store.add("empty", np.zeros((0, 8)), Particles.empty())
    assert "empty" in store
    assert store.vectors("empty").shape == (0, 8)
    assert store.vectors().shape == (0, 8)
    assert len(store.particles("empty")) == 0


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store = filled(tmp_path / name)
        store.replace("b", blobs([3])[0], particles("b", 3), instances=np.ones((3, 3, 3), np.int32), record={"b": 1})
    assert _snapshot(tmp_path / "one") == _snapshot(tmp_path / "two")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_hash": "b" * 16, "model_name": "other"}, "made by another model .toy a.*now other b"),
        ({"box_angstrom": 400.0}, "box_angstrom: store 320.0, now 400.0"),
        ({"input": InputConfig(voxel_size=8.0)}, "input.voxel_size: store 10.0, now 8.0"),
        ({"mask": "hull"}, "mask: store none, now hull"),
    ],
)
def test_a_store_made_otherwise_is_refused_and_the_difference_named(tmp_path: Path, change: dict, said: str) -> None:
    filled(tmp_path / "s")
    with pytest.raises(InputError, match=said):
        EmbeddingStore.open(tmp_path / "s", key(**change))
    with pytest.raises(InputError, match=said):
        EmbeddingStore.open_or_create(tmp_path / "s", key(**change))


def test_the_name_of_the_model_alone_makes_no_other_store(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    assert len(EmbeddingStore.open_or_create(tmp_path / "s", key(model_name="renamed"))) == 12


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.full((6, 8), np.nan), "vector 0 holds NaN"),
        (np.ones((6, 8)), "has length 2.8284, expected 1"),
        (np.eye(8)[:5], r"shape \(6, 8\)"),
        (np.eye(9)[:6], r"shape \(6, 8\)"),
    ],
)
def test_vectors_that_are_not_unit_and_finite_are_refused(tmp_path: Path, vectors: np.ndarray, said: str) -> None:
    store = filled(tmp_path / "s")
    before = _snapshot(tmp_path / "s")
    with pytest.raises(InputError, match=said):
        store.add("c", vectors, particles("c", 6))
    assert _snapshot(tmp_path / "s") == before


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    with pytest.raises(InputError, match="is in the store already"):
        store.add("a", blobs([2])[0], particles("a", 2))
    with pytest.raises(InputError, match=r"of .'d'. cannot be stored as tomogram 'c'"):
        store.add("c", blobs([2])[0], particles("d", 2))
    with pytest.raises(InputError, match=r"'x' is not in the store .* it holds a, b"):
        store.vectors("x")
    with pytest.raises(InputError, match="'x' is not in the store"):
        store.remove("x")


def test_names_that_no_file_system_takes_keep_apart(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", names=("TS/1", "TS:1", "../evil", "ü" * 200))
    assert EmbeddingStore.open(tmp_path / "s").tomograms == ["TS/1", "TS:1", "../evil", "ü" * 200]
    assert len(list((tmp_path / "s" / "shards").iterdir())) == 4
    assert store.damaged() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no embedding store"):
        EmbeddingStore.create(tmp_path, key())
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        EmbeddingStore.open(tmp_path)
    with pytest.raises(InputError, match="is a store already"):
        EmbeddingStore.create(filled(tmp_path / "s").path, key())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "is damaged"),
        ('{"schema_version": 99}', "schema version 99, this cryoembed reads 1"),
        ('{"schema_version": 1}', "is damaged .key: Field required"),
        ("[]", "schema version None"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str, said: str) -> None:
    filled(tmp_path / "s")
    (tmp_path / "s" / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=said):
        EmbeddingStore.open(tmp_path / "s")


@pytest.mark.parametrize("file", ["vectors.npy", "particles.parquet"])
def test_a_truncated_shard_is_never_served(tmp_path: Path, file: str) -> None:
    store = filled(tmp_path / "s", names=("a",))
    path = next((tmp_path / "s" / "shards").iterdir()) / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="index 'a' again"):
        (store.vectors if file == "vectors.npy" else store.particles)("a")
    assert store.damaged() == ["a"]


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    with exclusive(tmp_path / "s"), pytest.raises(InputError, match=f"written by process {os.getpid()}"):
        store.remove("a")
    store.remove("a")


def test_two_open_stores_see_each_others_changes(tmp_path: Path) -> None:
    first = filled(tmp_path / "s")
    second = EmbeddingStore.open(tmp_path / "s")
    first.add("c", blobs([2])[0], particles("c", 2))
    assert second.add("d", blobs([2])[0], particles("d", 2)).tolist() == [14, 15]
    assert EmbeddingStore.open(tmp_path / "s").tomograms == ["a", "b", "c", "d"]


def _add(store: EmbeddingStore) -> None:
    store.add("c", blobs([3], seed=9)[0], particles("c", 3, 9), record={"x": 1})


def _replace(store: EmbeddingStore) -> None:
    store.replace("a", blobs([3], seed=9)[0], particles("a", 3, 9))


def _remove(store: EmbeddingStore) -> None:
    store.remove("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to be killed")
@pytest.mark.parametrize("change", [_add, _replace, _remove])
def test_killed_at_any_step_the_store_is_old_or_new(tmp_path: Path, change: Callable[[EmbeddingStore], None]) -> None:
    """A child dies without any clean-up before its n-th call to the system, for every n."""
    filled(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    change(EmbeddingStore.open(tmp_path / "new"))
    old, new = _content(tmp_path / "old"), _content(tmp_path / "new")
    assert old != new
    seen = []
    for step in range(200):
        path = tmp_path / f"killed_{step}"
        shutil.copytree(tmp_path / "old", path)
        finished = _run_and_die(lambda path=path: change(EmbeddingStore.open(path)), step)
        content = _content(path)
        assert content in (old, new), f"neither old nor new when killed at step {step}"
        seen.append(content == new)
        if not seen[-1]:
            change(EmbeddingStore.open(path))  # the next run starts clean
            assert _content(path) == new
        EmbeddingStore.open(path).add("z", blobs([1])[0], particles("z", 1))
        manifest = json.loads((path / "manifest.json").read_text())
        folders = {item.name for item in (path / "shards").iterdir()}
        assert folders == {entry["folder"] for entry in manifest["shards"]}, "halves are swept away"
        shutil.rmtree(path)
        if finished:
            break
    assert finished
    assert step >= 5
    assert seen == sorted(seen), "once new, always new"
    assert seen[0] is False


def _run_and_die(work: Callable[[], None], step: int) -> bool:
    """Run in a child that exits hard at its ``step``-th system call that changes files; True if it finished before."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(function: Callable) -> Callable:
            def call(*args: object, **kwargs: object) -> object:
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return function(*args, **kwargs)

            return call

        try:
            for name in ("replace", "fsync", "mkdir", "unlink", "rmdir", "ftruncate"):
                setattr(os, name, dying(getattr(os, name)))
            np.save = dying(np.save)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), f"the child failed with {code}"
    return code == 0


@pytest.mark.parametrize("function", ["cryoembed.store.shards.sync", "cryoembed.store.embeddings.write_manifest"])
def test_a_full_disk_leaves_the_old_state_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    store = filled(tmp_path / "s")
    before = _content(tmp_path / "s")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function, full)
    with pytest.raises((InputError, OSError), match="No space left"):
        _add(store)
    monkeypatch.undo()
    assert _content(tmp_path / "s") == before
    _add(store)
    assert len(store) == 15


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "replace", "remove"]), st.sampled_from("abc"), st.integers(0, 4)), max_size=8
    )
)
def test_any_history_leaves_aligned_rows_and_fresh_ids(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, str, int]]
) -> None:
    store = EmbeddingStore.create(tmp_path_factory.mktemp("store") / "s", key())
    given_ids: set[int] = set()
    model: dict[str, np.ndarray] = {}
    for turn, (verb, name, n) in enumerate(history):
        if verb == "remove":
            if name in model:
                store.remove(name)
                del model[name]
            continue
        if verb == "add" and name in model:
            continue
        vectors = blobs([n], seed=turn)[0]
        rows = set(getattr(store, verb)(name, vectors, particles(name, n, turn)).tolist())
        assert not rows & given_ids
        given_ids |= rows
        model[name] = vectors
    opened = EmbeddingStore.open(store.path)
    assert set(opened.tomograms) == set(model)
    for name, vectors in model.items():
        np.testing.assert_array_equal(opened.vectors(name), vectors)
    assert len(opened.particles()) == len(opened.vectors()) == len(opened.row_ids) == len(opened)


def test_anndata_has_vectors_particles_and_key(tmp_path: Path) -> None:
    pytest.importorskip("anndata")
    store = filled(tmp_path / "s")
    table = store.to_anndata()
    assert table.shape == (12, 8)
    np.testing.assert_array_equal(table.obsm["spatial"], store.particles().positions_zyx)
    assert table.uns["cryoembed"]["model_hash"] == "a" * 16
    assert table.obs_names[0] == store.particles().table["particle_id"][0]


def _content(path: Path) -> tuple:
    """What a reader sees: names, ids and vectors."""
    store = EmbeddingStore.open(path)
    parts = [(store.vectors(name).tobytes(), store.particles(name).table.to_csv()) for name in store.tomograms]
    return store.tomograms, store.row_ids.tolist(), parts, store.content_hash


def _snapshot(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_writer_waits_for_another_and_then_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = exclusive(tmp_path)
    held.__enter__()
    threading.Timer(0.3, held.__exit__, (None, None, None)).start()
    with exclusive(tmp_path):  # waited for
        monkeypatch.setattr("cryoembed.store.lock.PATIENCE", 0.2)
        with pytest.raises(InputError, match=f"is being written by process {os.getpid()} "), exclusive(tmp_path):
            pass
