"""One writer at a time: an advisory lock on a file inside the store, released by the system when its holder dies."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoembed.errors import InputError

LOCK_NAME = ".lock"
PATIENCE = 60.0  # s; a shard is written in less, and behind this writer may be minutes of inference
_PAUSE = 0.1

_log = logging.getLogger(__name__)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the store's lock; a killed process leaves no lock behind.

    Raises
    ------
    InputError
        If another process (named by pid and host) holds it for longer than `PATIENCE`, or the folder cannot be
        written to.
    """
    path = Path(folder) / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"cannot write to the store {folder}: {error.strerror}; copy it to a writable place") from None
    try:
        _acquire(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)  # closing gives the lock back


def _acquire(descriptor: int, folder: Path) -> None:
    patience = time.monotonic() + PATIENCE
    while not _acquired(descriptor, folder):
        if time.monotonic() >= patience:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace") if hasattr(os, "pread") else ""
            raise InputError(f"the store {folder} is being written by {holder or 'another process'}; wait for it")
        time.sleep(_PAUSE)


def _acquired(descriptor: int, folder: Path) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # some network file systems know no locks
        _log.warning("no lock on %s (%s): make sure that only one process writes to it", folder, error.strerror)
    return True
