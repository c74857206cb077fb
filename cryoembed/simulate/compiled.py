"""How the simulator's kernels are compiled: by numba on first use, kept on disk where that can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """Decorator: ``numba.njit`` with these options and a cache, or without one in a read-only installation."""

    def decorate(function: F) -> F:
        try:
            made: F = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder for the cache: neither beside the file nor at home
            made = numba.njit(**options)(function)
        return made

    return decorate
