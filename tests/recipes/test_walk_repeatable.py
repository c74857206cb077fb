"""Same seed, same files: every verb leaves the same bytes twice; a training that broke off ends as if it had not.

Each verb runs twice into the same place, because the config that is kept beside the outputs names it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cryoembed.recipes import training_run
from tests.recipes.conftest import Run, Walk
from tests.recipes.test_pretrain import CONFIGS, TINY_BOXES, TINY_NETWORK, TINY_TRAIN
from tests.recipes.test_walk_bad_input import TINY_DATASET

Contents = Callable[[Path], dict[str, str]]


def twice(run: Run, contents: Contents, folder: Path, *arguments: object) -> dict[str, str]:
    """Run a verb that writes into ``folder`` twice, from nothing; returns what it left."""
    left = []
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        done = run(*arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        left.append(contents(folder))
    assert left[0] == left[1]
    assert left[0]
    return left[0]


def test_simulate(tmp_path: Path, run: Run, contents: Contents) -> None:
    config, out = tmp_path / "simulate.yaml", tmp_path / "data"
    config.write_text(TINY_DATASET)
    first = twice(run, contents, out, "simulate", config, "--out", out)
    run("simulate", config, "--out", tmp_path / "other", "--seed", 4)
    other = contents(tmp_path / "other")
    assert other.keys() == first.keys()
    name = "model_0/reconstruction.mrc"
    assert other[name] != first[name]


def test_index(walk: Walk, tmp_path: Path, run: Run, contents: Contents) -> None:
    out = tmp_path / "store"
    left = twice(run, contents, out, "index", *walk.tomograms, "--out", out, *walk.weights)
    named_otherwise = {"records/config.yaml"}
    elsewhere = contents(walk.store)
    assert {name: left[name] for name in left.keys() - named_otherwise} == {
        name: elsewhere[name] for name in elsewhere.keys() - named_otherwise
    }


def test_index_again_changes_nothing(walk: Walk, run: Run, contents: Contents) -> None:
    before = contents(walk.store)
    done = run("index", *walk.tomograms, "--out", walk.store, *walk.weights)
    assert "indexed nothing new; skipped TS_1, TS_2" in done.stdout
    assert contents(walk.store) == before


@pytest.mark.parametrize("verb", ["denoise", "segment"])
def test_maps(verb: str, walk: Walk, tmp_path: Path, run: Run, contents: Contents) -> None:
    arguments = (verb, walk.tomograms[0], "--out", tmp_path / "out", "--weights", walk.finder, "--precision", "fp32")
    twice(run, contents, tmp_path / "out", *arguments)


@pytest.mark.parametrize("hits", ["hits.star", "hits.csv", "hits.parquet"])
def test_query(hits: str, walk: Walk, tmp_path: Path, run: Run, contents: Contents) -> None:
    out = tmp_path / "out"
    left = twice(run, contents, out, "query", walk.store, "--examples", walk.examples, "--out", out / hits)
    assert set(left) == {hits, f"{hits}.json"}, "the hits, and the record of how they came about"


def test_cluster(walk: Walk, tmp_path: Path, run: Run, contents: Contents) -> None:
    out = tmp_path / "out"
    arguments = ("cluster", walk.store, "--out", out, "--clusters", 3, "--seed", 5, "--set", "layout=pca")
    twice(run, contents, out, *arguments)


def test_a_training_that_broke_off_ends_as_if_it_had_not(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*TINY_NETWORK, *TINY_TRAIN, *TINY_BOXES, "batch=3", "train.steps=6", "train.checkpoint_every=2")
    flags = [part for setting in settings for part in ("--set", setting)]
    config = CONFIGS / "pretrain_contrastive_small.yaml"
    for name, broken_at in (("whole", None), ("broken", 5)):
        arguments = ("pretrain", config, "--out", tmp_path / name, *flags)
        if broken_at:
            with monkeypatch.context() as patch:
                patch.setattr(training_run, "progress_bar", _breaking(broken_at))
                assert run(*arguments).exit_code == 130
            assert not (tmp_path / name / "weights.safetensors").exists()
        done = run(*arguments)
        assert done.exit_code == 0, (done.output, done.exception)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]


def _breaking(step: int) -> Callable[..., Any]:
    @contextmanager
    def progress_bar(description: str, total: float) -> Iterator[Callable[[float], None]]:
        done = 0.0

        def advance(steps: float) -> None:
            nonlocal done
            done += steps
            if done >= step:
                raise KeyboardInterrupt

        yield advance

    return progress_bar
