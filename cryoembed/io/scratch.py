"""Working space on disk: a folder that goes away, also after a kill, and arrays in it whose space is reserved."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.atomic import left_by_the_dead, own_mark

PREFIX = ".scratch_"


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder inside ``out`` (made if missing) and remove it at the end.

    What killed processes left there is removed first; if nothing else was written, a folder made here goes, too.

    Raises
    ------
    InputError
        If ``out`` cannot be written to.
    """
    out = Path(out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        folder = _new_folder(out)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty, and that is well
            for empty in made:
                empty.rmdir()


def scratch_array(folder: Path, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A writable memory map of a new ``.npy`` file; its disk space is reserved, so that writing to it cannot fail.

    Raises
    ------
    InputError
        If the folder cannot be written to or the disk is too small.
    """
    path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}_{own_mark()}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        reserve(path)
    except OSError as error:
        path.unlink(missing_ok=True)
        megabytes = np.dtype(dtype).itemsize * int(np.prod(shape)) / 1e6
        raise InputError(
            f"cannot write {path} ({megabytes:.0f} MB): {error.strerror or error}; choose another --out or free some "
            "space"
        ) from None
    return array


def reserve(path: Path) -> None:
    """Take the disk space that a file's length promises: writing to a memory map on a full disk ends the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot promise
                raise


def _new_folder(out: Path) -> Path:
    folder = out / f"{PREFIX}{own_mark()}"
    try:
        folder.mkdir(parents=True)
        for left in out.glob(f"{PREFIX}*"):
            if left_by_the_dead(left.name):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from None
    return folder
