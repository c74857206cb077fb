"""Outputs appear whole or not at all: written beside their target under a temporary name, then renamed.

Temporary names tell which process made them, so that what a killed one left is removed by the next that writes there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryoembed.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder with the target's suffixes; rename on success, remove on failure.

    Raises
    ------
    InputError
        If the folder cannot be written to or the disk is full; an existing target is untouched.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put a mark before
    temporary = path.with_name(f".{own_mark()}.tmp.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # nothing was made where the folder itself is the trouble
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like `replacing`, for a whole folder; an existing target is swapped out only when the new one is complete."""
    path = Path(os.path.abspath(path))  # "." has no name to put a mark before
    temporary = path.with_name(f".{own_mark()}.tmp.{path.name}")
    old = path.with_name(f".{own_mark()}.old.{path.name}")
    try:
        temporary.mkdir(parents=True)
        _sweep(path)
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def own_mark() -> str:
    """Return a unique text that names this machine and process: ``left_by_the_dead`` reads it."""
    return f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def left_by_the_dead(name: str) -> bool:
    """Whether a file name carries the mark of a process of this machine that no longer runs."""
    mark = re.search(r"([0-9a-f]{6})-(\d+)-[0-9a-f]{8}", name)
    if mark is None or mark[1] != _host() or sys.platform == "win32":  # there, asking a process may end it
        return False
    try:
        os.kill(int(mark[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is somebody else's
        return False
    return False


def sweep_folder(folder: Path) -> None:
    """Remove everything that killed processes left half-written in a folder."""
    for name in {left.name.split(".", 3)[-1] for left in Path(folder).glob(".*.*") if left_by_the_dead(left.name)}:
        _sweep(Path(folder) / name)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _sweep(path: Path) -> None:
    """Remove what killed processes left beside a target; an old folder that lost its place gets it back."""
    for left in path.parent.iterdir():
        if not left.name.endswith(f".{path.name}") or not left_by_the_dead(left.name):
            continue
        if f".old.{path.name}" in left.name and not path.exists():  # killed between the two renames
            os.replace(left, path)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError) and error.filename and not str(error.filename).startswith(str(path.parent)):
        return error  # something read inside the block is missing: not the output's fault
    return InputError(f"cannot write {path}: {error.strerror or error}; choose another --out or free some space")
