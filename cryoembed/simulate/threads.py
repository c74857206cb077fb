"""How many threads this process may use, and work shared out between them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def usable_threads() -> int:
    """Cores that this process may run on; a scheduler may have given it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[T], None], items: Iterable[T], threads: int | None, *, most: int | None = None) -> None:
    """Run ``work`` on every item; the work itself must let go of the GIL.

    Parameters
    ----------
    threads
        None: all that this process may use.
    most
        Threads at a time, whatever is asked for (each may hold much memory).
    """
    count = usable_threads() if threads is None else max(int(threads), 1)
    count = count if most is None else min(count, most)
    if count == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(work, items):
            pass
