"""Jobs that processes of `cryoembed.recipes.parallel` can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cryoembed.errors import InputError


def square(number: int) -> int:
    return number * number


def refuse_three(number: int) -> int:
    if number == 3:
        raise InputError("this number is no good")
    return number


def break_at_three(number: int) -> int:
    return 1 // (number - 3)


def die_once(folder: str) -> str:
    """Killed as by `kill -9` in the middle of its work, unless it was before."""
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die_always(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
