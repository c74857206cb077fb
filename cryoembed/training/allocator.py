"""Memory between steps: large freed blocks stay with the process, since every step wants the same ones again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 2**31 - 1  # of a C int


def keep_freed_memory() -> bool:
    """Tell the C library not to give freed memory back to the system before the process ends.

    By default glibc maps each activation anew and unmaps it when it is freed; the system then clears every page again,
    a quarter of the CPU time of a training step of the voxel network (`python -m tests.benchmark.train_step`). The price
    is memory: freed blocks that are not quite large enough stay unused, up to as much again as a step needs.

    Returns
    -------
    Whether it was told: on Linux with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(which, _LARGEST) == 1 for which in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
