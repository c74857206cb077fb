"""Outputs appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import write_mrc, write_particles
from cryoembed.io.atomic import replacing, replacing_folder
from tests.io.test_relion import INFOS, some

WRITERS: dict[str, Callable[[Path], None]] = {
    "a.mrc": lambda path: write_mrc(path, np.zeros((3, 4, 5), np.float32), 10.0),
    "a.star": lambda path: write_particles(path, some(), tomograms=INFOS),
    "a.csv": lambda path: write_particles(path, some()),
    "a.parquet": lambda path: write_particles(path, some()),
    "a.coords": lambda path: write_particles(path, some().of("TS_01"), tomograms=INFOS),
}


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_folder_is_made(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "deep" / "down" / name)
    assert [entry.name for entry in (tmp_path / "deep" / "down").iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_left(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", failing(errno.EROFS))
    with pytest.raises(InputError, match=r"cannot write .*Read-only file system; choose another --out"):
        WRITERS[name](tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_folder_is_said(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write"):
        WRITERS[name](tmp_path / name)
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_a_file_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        WRITERS[name](tmp_path / "out" / name)
    assert (tmp_path / "out").read_text() == "in the way"


def test_a_full_disk_is_noticed_before_the_volume_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mrc").write_text("old")
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC), raising=False)
    with pytest.raises(InputError, match=r"No space left on device.*free some space"):
        WRITERS["a.mrc"](tmp_path / "a.mrc")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc"]
    assert (tmp_path / "a.mrc").read_text() == "old"


def test_a_text_cut_off_by_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def cut_off() -> None:
        with replacing(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            failing(errno.ENOSPC)()

    with pytest.raises(InputError, match="No space left"):
        cut_off()
    assert (tmp_path / "a.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_swapped_in_whole(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old").write_text("")
    with replacing_folder(tmp_path / "store") as temporary:
        (temporary / "new").write_text("")
        assert (tmp_path / "store" / "old").exists()
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == ["new"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_half_made_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old").write_text("")

    def killed() -> None:
        with replacing_folder(tmp_path / "store") as temporary:
            (temporary / "new").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_input_read_while_writing_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    def reads() -> None:
        with replacing(tmp_path / "out" / "a.csv"):
            (tmp_path / "elsewhere" / "missing").read_text()

    with pytest.raises(FileNotFoundError):
        reads()


def test_the_present_folder_can_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with replacing_folder(Path()) as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "here" / "a").read_text() == "a"
