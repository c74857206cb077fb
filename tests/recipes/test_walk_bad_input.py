"""Bad input through the command line: exit code 2, one clear line, nothing half-written; a kill costs only its tomogram."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoembed.io import read_particles, write_mrc
from cryoembed.recipes import query as asking
from cryoembed.store import EmbeddingStore
from tests.recipes.conftest import CENTRES, SHAPE, Run, Walk
from tests.recipes.hand_made import VOXEL_SIZE, WHOLE_RANGE, save_encoder

Refused = Callable[..., str]


@pytest.fixture
def refused(run: Run, walk: Walk, contents: Callable[[Path], dict[str, str]], tmp_path: Path) -> Refused:
    """Run a command that must be refused; returns its one line."""

    def check(*arguments: object) -> str:
        folders = (tmp_path, walk.store.parent)
        before = [contents(folder) for folder in folders]
        done = run(*arguments)
        assert done.exit_code == 2, (done.output, done.exception)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert not done.stdout
        assert [contents(folder) for folder in folders] == before, "something was written"
        return str(lines[0])

    return check


def index(walk: Walk, tomogram: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("index", tomogram, "--out", out, *walk.weights, *more)


def query(walk: Walk, examples: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("query", walk.store, "--examples", examples, "--out", out, *more)


# -- tomograms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("truncated_fei-extended.mrc", "one image of 3710 x 3838"),
        ("header_only.mrc", "holds a header only"),
        ("mrcfile_README.txt", "not an MRC file"),
        ("EMD-3001.map", "differs between axes"),
        ("TS_001.st", "pass --voxel-size"),
    ],
)
def test_odd_volumes_are_refused(
    shared_data: Path, name: str, said: str, walk: Walk, tmp_path: Path, refused: Refused
) -> None:
    assert said in refused(*index(walk, shared_data / "oddmrc" / name, tmp_path / "store"))


def test_a_picture_named_mrc_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    picture = tmp_path / "TS_9.mrc"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    for verb in (index(walk, picture, tmp_path / "store"), ("info", picture)):
        assert "is a PNG image" in refused(*verb)


BROKEN: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "NaN": (lambda volume: np.where(np.arange(volume.size).reshape(volume.shape) == 99, np.nan, volume), "NaN"),
    "infinite": (
        lambda volume: np.where(np.arange(volume.size).reshape(volume.shape) == 99, np.inf, volume),
        "infinite",
    ),
    "constant": (lambda volume: np.full_like(volume, 7), "every voxel is 7"),
    "thin": (lambda volume: volume[:3], "shorter than 8"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_volumes_are_refused_by_every_verb(kind: str, walk: Walk, tmp_path: Path, refused: Refused) -> None:
    spoil, said = BROKEN[kind]
    volume = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    write_mrc(tmp_path / "TS_9.mrc", spoil(volume).astype(np.float32), VOXEL_SIZE)
    out = tmp_path / "a" / "b"
    assert said in refused(*index(walk, tmp_path / "TS_9.mrc", out))
    assert said in refused(*index(walk, tmp_path / "TS_9.mrc", walk.store))
    for verb in ("denoise", "segment"):
        assert said in refused(verb, tmp_path / "TS_9.mrc", "--out", out, "--weights", walk.finder)


def test_a_tomogram_cut_short_or_missing_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "TS_9.mrc").write_bytes(walk.tomograms[0].read_bytes()[:-1])
    assert "is cut short" in refused(*index(walk, tmp_path / "TS_9.mrc", walk.store))
    for verb in (index(walk, tmp_path / "none.mrc", walk.store), ("info", tmp_path / "none.mrc")):
        assert "does not exist" in refused(*verb)


def test_good_tomograms_are_kept_when_one_of_several_is_refused(walk: Walk, tmp_path: Path, run: Run) -> None:
    (tmp_path / "TS_9.mrc").write_bytes(walk.tomograms[0].read_bytes()[:-1])
    done = run("index", tmp_path / "TS_9.mrc", walk.tomograms[1], "--out", tmp_path / "store", *walk.weights)
    assert done.exit_code == 2
    assert "1 of 2 tomograms refused" in done.stderr
    assert "indexed TS_2 (12)" in done.stderr
    assert EmbeddingStore.open(tmp_path / "store").tomograms == ["TS_2"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--voxel-size", "0"), "voxel_size: Input should be greater than 0"),
        (("--origin", "1,2"), "expected three numbers z,y,x"),
        (("--origin", "nan,0,0"), "expected three numbers z,y,x"),
        (("--contrast", "grey"), "contrast"),
        (("--device", "tpu"), "expected auto, cpu, cuda"),
        (("--set", "instances.min_volume=3"), "unknown key 'instances.min_volume': did you mean 'min_volume_A3'"),
        (("--set", "instances.beta=[1"), "not readable YAML"),
        (("--set", "batch"), "expected key=value"),
        (("--config", "none.yaml"), "config none.yaml does not exist"),
        (("--voxel-weights", "voxel_huge"), "no bundled weights 'voxel_huge'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    flags: tuple[str, ...], said: str, walk: Walk, tmp_path: Path, refused: Refused
) -> None:
    assert said in refused(*index(walk, walk.tomograms[0], tmp_path / "store", *flags))


def test_an_unknown_key_in_a_file_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "index.yaml").write_text("contrst: dark\n")
    line = refused(*index(walk, walk.tomograms[0], tmp_path / "store", "--config", tmp_path / "index.yaml"))
    assert "did you mean 'contrast'" in line
    (tmp_path / "index.yaml").write_text("1: 2\n")
    refused(*index(walk, walk.tomograms[0], tmp_path / "store", "--config", tmp_path / "index.yaml"))
    (tmp_path / "index.yaml").write_bytes(b"\x80\x04\x95\x00")
    line = refused(*index(walk, walk.tomograms[0], tmp_path / "store", "--config", tmp_path / "index.yaml"))
    assert "not readable YAML" in line


def test_wrong_contrast_is_warned_of_and_auto_finds_the_right_one(
    walk: Walk, tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert EmbeddingStore.open(walk.store).source("TS_1").contrast == "dark"  # type: ignore[union-attr]
    done = run(*index(walk, walk.tomograms[0], tmp_path / "store", "--contrast", "bright"))
    assert done.exit_code == 2  # the particles are holes then: nothing is found, and that is no success
    assert "no particle was found" in done.stderr
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("contrast bright as given, although the particles look dark" in text for text in warnings), warnings


# -- examples and targets of a query -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("tomogram,z,y,x\n", "holds no picks; examples need at least one"),
        ("tomogram,z,y,x\nTS_1,60,80,7000\n", "lie outside 'TS_1'"),
        ("tomogram,z,y,x\nTS_1,60,-80,70\n", "lie outside 'TS_1'"),
        ("tomogram,z,y,x\nTS_01,60,80,70\n", "did you mean 'TS_1'"),
        ("tomogram,z,y,x\nTS_1,60,80,70\nTS_1,60,nan,70\n", "row 2: a position is not a finite number"),
        ("tomogram,z,y\nTS_1,60,80\n", "missing x among the columns"),
        ("60,80,70\n", "has no header line"),
    ],
)
def test_examples_that_are_none_are_refused(text: str, said: str, walk: Walk, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "examples.csv").write_text(text)
    assert said in refused(*query(walk, tmp_path / "examples.csv", tmp_path / "hits.star"))


@pytest.mark.parametrize("name", ["picks.csv", "picks.star", "picks.tloc", "picks.parquet", "picks.pkl"])
def test_pickled_picks_are_never_opened(name: str, walk: Walk, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb(tmp_path / "ran")))
    for verb in (
        query(walk, tmp_path / name, tmp_path / "hits.star"),
        ("convert", tmp_path / name, tmp_path / "out.csv"),
        ("evaluate", tmp_path / name, "--truth", walk.examples),
    ):
        assert "pickle" in refused(*verb)


def test_missing_examples_stores_and_truths_are_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    none = tmp_path / "none.csv"
    assert f"{none} does not exist" in refused(*query(walk, none, tmp_path / "hits.star"))
    assert "is a folder" in refused(*query(walk, tmp_path, tmp_path / "hits.star"))
    assert f"{none} does not exist" in refused("convert", none, tmp_path / "out.csv")
    assert "does not exist" in refused("evaluate", walk.examples, "--truth", none)
    for verb in (("query", tmp_path, "--examples", walk.examples), ("cluster", tmp_path)):
        assert "is no embedding store" in refused(*verb, "--out", tmp_path / "out.star")


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_embedded(
    walk: Walk, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embedded(*_: object, **__: object) -> None:
        raise AssertionError("the examples were embedded")

    monkeypatch.setattr(asking, "embed_positions", embedded)
    assert "expected suffix .star .csv" in refused(*query(walk, walk.examples, tmp_path / "hits.txt"))
    assert "is a folder; --out wants a file" in refused(*query(walk, walk.examples, _folder(tmp_path / "hits.star")))
    assert "choose another --out" in refused(*query(walk, walk.examples, walk.examples))


# -- weights and stores ------------------------------------------------------------------------------------------------


def test_weights_that_are_none_are_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(_Bomb(tmp_path / "ran")))
        for flag in ("--voxel-weights", "--subtomogram-weights"):
            line = refused(*index(walk, walk.tomograms[0], tmp_path / "store", flag, tmp_path / name))
            assert "are a pickle" in line
    (tmp_path / "cut.safetensors").write_bytes(walk.finder.read_bytes()[:-100])
    arguments = index(walk, walk.tomograms[0], tmp_path / "store")
    assert "truncated" in refused(*arguments, "--voxel-weights", tmp_path / "cut.safetensors")
    assert "do not exist" in refused(*arguments, "--voxel-weights", tmp_path / "none.safetensors")


def test_weights_of_the_wrong_kind_are_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    arguments = index(walk, walk.tomograms[0], tmp_path / "store")
    assert "no instance head" in refused(*arguments, "--voxel-weights", walk.encoder)
    assert "expected a subtomogram network" in refused(*arguments, "--subtomogram-weights", walk.finder)
    line = refused("denoise", walk.tomograms[0], "--out", tmp_path / "out", "--weights", walk.encoder)
    assert "no denoise head" in line


def test_an_encoder_that_masks_by_instances_of_other_voxels_is_refused(
    walk: Walk, tmp_path: Path, refused: Refused
) -> None:
    finer = save_encoder(
        tmp_path / "finer.safetensors", mask="strict", inputs=WHOLE_RANGE.model_copy(update={"voxel_size": 5.0})
    )
    arguments = index(walk, walk.tomograms[0], tmp_path / "store")
    assert "reads voxels of 5 A, sees brightness of 10 A" in refused(*arguments, "--subtomogram-weights", finer)


def test_a_store_made_by_another_model_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    other = save_encoder(tmp_path / "other.safetensors", seed=1)
    line = refused(*index(walk, walk.tomograms[0], walk.store, "--subtomogram-weights", other))
    assert "is a store made by another model" in line
    line = refused(*query(walk, walk.examples, tmp_path / "hits.csv", "--set", f"weights={other}"))
    assert "is a store made by another model" in line
    line = refused(*index(walk, walk.tomograms[0], walk.store, "--set", "copies=4"))
    assert "other settings (copies: store 1, now 4)" in line


def test_a_damaged_store_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    store = tmp_path / "store"
    shutil.copytree(walk.store, store)
    arguments = ("query", store, "--examples", walk.examples, "--out", tmp_path / "hits.csv")
    vectors = next(store.glob("shards/TS_2*/vectors.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-8])
    assert "index 'TS_2' again" in refused(*arguments)
    (store / "manifest.json").write_text((store / "manifest.json").read_text()[:-20])
    assert "manifest.json is damaged" in refused(*arguments)


def test_another_tomogram_of_the_same_name_is_refused(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    shutil.copy(walk.tomograms[1], tmp_path / "TS_1.mrc")
    assert "'TS_1' is of another file" in refused(*index(walk, tmp_path / "TS_1.mrc", walk.store))
    changed = index(walk, walk.tomograms[0], walk.store, "--set", "instances.foreground_threshold=0.45")
    assert "other settings; pass --replace" in refused(*changed)  # never serve a shard made otherwise
    line = refused("index", *walk.tomograms, tmp_path / "TS_1.mrc", "--out", tmp_path / "store", *walk.weights)
    assert "several tomograms are called TS_1" in line


# -- disks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_an_output_folder_that_is_read_only_or_full_is_said(
    code: int, walk: Walk, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    out = tmp_path / "out"
    verbs = [
        index(walk, walk.tomograms[0], out),
        ("segment", walk.tomograms[0], "--out", out, "--weights", walk.finder),
        ("denoise", walk.tomograms[0], "--out", out, "--weights", walk.finder),
    ]
    monkeypatch.setattr(os, "posix_fallocate" if code == errno.ENOSPC else "mkdir", fail)
    for verb in verbs:
        assert os.strerror(code) in refused(*verb)
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", fail)
    for verb in (
        query(walk, walk.examples, tmp_path / "hits.star"),
        ("cluster", walk.store, "--out", out, "--clusters", 2, "--set", "layout=pca"),
        ("convert", walk.examples, tmp_path / "out.parquet"),
    ):
        assert os.strerror(code) in refused(*verb)


def test_a_folder_that_is_a_file_is_said(walk: Walk, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(tmp_path / "file") in refused(*index(walk, walk.tomograms[0], out))
        for verb in ("segment", "denoise"):
            refused(verb, walk.tomograms[0], "--out", out, "--weights", walk.finder)
        refused("cluster", walk.store, "--out", out, "--clusters", 2, "--set", "layout=pca")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount small disks")
def test_real_small_and_read_only_disks_end_in_one_line(walk: Walk, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = f"{sys.executable} -m cryoembed"
    flags = " ".join(map(str, walk.weights))
    script = f"""
        mount -t tmpfs -o size=300k tmpfs {disk} || exit 99
        {program} index {walk.tomograms[0]} --out {disk}/store {flags}; echo code $? >&2; ls -A {disk}
        mount -o remount,ro {disk}
        {program} index {walk.tomograms[0]} --out {disk}/store {flags}; echo code $? >&2; ls -A {disk}
    """
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    done = subprocess.run(namespace, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 2) or "unshare:" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()[:80]}")
    assert not done.stdout, "nothing is left on the disk"
    assert done.stderr.count("code 2") == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "No space left on device" in errors[0]
    assert "Read-only file system" in errors[1]
    assert "Traceback" not in done.stderr


# -- killed half way ---------------------------------------------------------------------------------------------------

STOP_IN_THE_MIDDLE = """
import sys, time
import {module} as room
real, calls = room.{function}, []

def stop(*arguments, **settings):
    calls.append(1)
    if len(calls) == {call}:
        print("in the middle", flush=True)
        time.sleep(600)
    return real(*arguments, **settings)

room.{function} = stop
from cryoembed.cli import main
main()
"""


def kill(module: str, function: str, call: int, *arguments: object) -> None:
    """Run a command and kill it, without a word of warning, when it calls a function for the n-th time."""
    code = STOP_IN_THE_MIDDLE.format(module=module, function=function, call=call)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


def test_index_killed_in_its_second_tomogram_goes_on_with_it(walk: Walk, tmp_path: Path, run: Run) -> None:
    store = tmp_path / "store"
    arguments = ("index", *walk.tomograms, "--out", store, *walk.weights)
    # a shard syncs three files, itself and its parent: at the seventh call half of the second shard is on disk
    kill("cryoembed.store.shards", "sync", 7, *arguments)
    left = hidden(store)
    assert any(".tmp.TS_2" in name for name in left), left
    assert any(name.startswith(".scratch_") for name in left), left
    half = EmbeddingStore.open(store)
    assert half.tomograms == ["TS_1"]
    assert not half.damaged()
    done = run("query", store, "--examples", walk.examples, "--out", tmp_path / "hits.csv")
    assert done.exit_code == 0, done.output
    assert set(read_particles(tmp_path / "hits.csv").tomograms) == {"TS_1"}
    shard = next((store / "shards").glob("TS_1-*/vectors.npy")).stat()

    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "indexed TS_2 (12); skipped TS_1" in done.stdout
    assert not hidden(store)
    assert next((store / "shards").glob("TS_1-*/vectors.npy")).stat() == shard
    assert len(list((store / "shards").iterdir())) == 2
    assert EmbeddingStore.open(store).content_hash == EmbeddingStore.open(walk.store).content_hash


def test_simulate_killed_in_its_second_model_goes_on_with_it(
    tmp_path: Path, run: Run, contents: Callable[[Path], dict[str, str]]
) -> None:
    config = tmp_path / "simulate.yaml"
    config.write_text(TINY_DATASET)
    arguments = ("simulate", config, "--out", tmp_path / "data")
    kill("cryoembed.simulate.model_files", "write_model", 2, *arguments)
    assert not (tmp_path / "data" / "model_1").exists()
    assert any(".tmp.model_1" in name for name in hidden(tmp_path / "data"))
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "simulated 1 models" in done.stdout
    assert "kept 1" in done.stdout
    assert not hidden(tmp_path / "data")
    run("simulate", config, "--out", tmp_path / "whole")
    killed, whole = contents(tmp_path / "data"), contents(tmp_path / "whole")
    assert killed.pop("config.yaml") != whole.pop("config.yaml")  # it names its folder
    assert killed == whole


TINY_DATASET = """
models: 2
shape: [24, 32, 32]
counts: 2
phantoms:
  - {name: blob, family: blob, mass_kda: 300, seed: 1}
seed: 3
"""


class _Bomb:
    """Leaves a trace if anyone unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_toy_is_found_as_it_was_made(walk: Walk) -> None:
    """Or the refusals above would prove little."""
    found = EmbeddingStore.open(walk.store).particles("TS_1").positions_zyx
    assert len(found) == len(CENTRES)
    assert np.abs(np.sort(found, axis=0) - np.sort(CENTRES * VOXEL_SIZE, axis=0)).max() < VOXEL_SIZE / 2
    assert found.max() < max(SHAPE) * VOXEL_SIZE
