"""Working space goes away, also after a kill; its disk space is there before anything is written to it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io.atomic import own_mark, replacing, replacing_folder
from cryoembed.io.scratch import PREFIX, scratch_array, scratch_folder


@pytest.fixture(scope="module")
def dead() -> str:
    """The mark of a process of this machine that has ended."""
    done = subprocess.run(
        [sys.executable, "-c", "from cryoembed.io.atomic import own_mark; print(own_mark())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_scratch_lies_in_the_folder_and_goes_with_it_if_nothing_else_was_written(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "a" / "b") as scratch:
        assert scratch.parent == tmp_path / "a" / "b"
        (scratch / "file").write_text("x")
    assert not names(tmp_path)
    with scratch_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").write_text("x")
    assert names(tmp_path / "a" / "b") == {"result"}


def test_scratch_of_the_dead_is_removed_and_that_of_the_living_stays(tmp_path: Path, dead: str) -> None:
    living = tmp_path / f"{PREFIX}{own_mark()}"
    living.mkdir()
    stranger = tmp_path / f"{PREFIX}{'f' * 6 if dead[0] != 'f' else '0' * 6}{dead[6:]}"  # of another machine
    stranger.mkdir()
    (tmp_path / f"{PREFIX}{dead}").mkdir()
    (tmp_path / f"{PREFIX}{dead}" / "prepared.npy").write_text("x")
    with scratch_folder(tmp_path) as scratch:
        assert names(tmp_path) == {scratch.name, living.name, stranger.name}


def test_what_a_killed_writer_left_beside_a_target_is_removed(tmp_path: Path, dead: str) -> None:
    for name in (f".{dead}.tmp.a.csv", f".{dead}.tmp.b.csv", f".{own_mark()}.tmp.a.csv"):
        (tmp_path / name).write_text("half")
    with replacing(tmp_path / "a.csv") as temporary:
        temporary.write_text("whole")
    left = names(tmp_path)
    assert f".{dead}.tmp.a.csv" not in left
    assert len(left) == 3, "what belongs to another target or to the living stays"


def test_a_folder_that_a_kill_left_without_its_name_gets_it_back(tmp_path: Path, dead: str) -> None:
    """Between the two renames of `replacing_folder` the old content has the temporary name only."""
    (tmp_path / f".{dead}.old.store").mkdir()
    (tmp_path / f".{dead}.old.store" / "precious").write_text("x")
    (tmp_path / f".{dead}.tmp.store").mkdir()

    def broken() -> None:
        with replacing_folder(tmp_path / "store"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert names(tmp_path) == {"store"}
    assert (tmp_path / "store" / "precious").exists()


def test_scratch_arrays_keep_what_is_written_and_differ_in_name(tmp_path: Path) -> None:
    first = scratch_array(tmp_path, "TS/01", (2, 3, 4), np.float16)
    second = scratch_array(tmp_path, "TS/01", (2, 3, 4), np.float16)
    first[:], second[:] = 1, 2
    assert (first == 1).all()
    assert (first.shape, first.dtype) == ((2, 3, 4), np.float16)
    assert len(names(tmp_path)) == 2


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"\(8 MB\): No space left on device; choose another --out"):
        scratch_array(tmp_path, "map", (100, 100, 200), np.float32)
    assert not names(tmp_path)
