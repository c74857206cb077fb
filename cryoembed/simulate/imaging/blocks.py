"""Work cut into blocks of rows or images, shared between threads; where its result goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError


def row_blocks(height: int, size: int) -> list[slice]:
    """Slices of ``size`` rows that cover all of them."""
    return [slice(start, min(start + size, height)) for start in range(0, height, size)]


def in_threads(work: Callable[[slice], None], blocks: Iterable[slice], threads: int | None) -> None:
    """Run ``work`` on every block; the work itself must let go of the GIL."""
    count = usable_threads() if threads is None else max(int(threads), 1)
    if count == 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(work, blocks):
            pass


def check_out(out: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """``out`` if its shape is right, a new array if it is None."""
    if out is None:
        return np.empty(shape, dtype=np.float32)
    if out.shape != shape or out.dtype != np.float32:
        raise InputError(f"out is {out.dtype} of shape {out.shape}; expected float32 of shape {shape}")
    return out


def usable_threads() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
