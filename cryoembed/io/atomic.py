"""Outputs appear whole or not at all: written beside their target under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
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
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp.{path.name}")
    old = path.with_name(f".{uuid.uuid4().hex[:8]}.old.{path.name}")
    try:
        temporary.mkdir(parents=True)
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


def _cannot_write(path: Path, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError) and error.filename and not str(error.filename).startswith(str(path.parent)):
        return error  # something read inside the block is missing: not the output's fault
    return InputError(f"cannot write {path}: {error.strerror or error}; choose another --out or free some space")
