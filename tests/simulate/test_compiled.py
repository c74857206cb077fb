"""Kernels compile wherever the package is installed."""

from __future__ import annotations

import numba

from cryoembed.simulate.compiled import compiled


def test_without_a_folder_for_the_cache_kernels_compile_all_the_same(monkeypatch):
    njit = numba.njit

    def read_only(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*arguments, **options)

    monkeypatch.setattr(numba, "njit", read_only)
    assert compiled(fastmath=True)(lambda x: x + 1)(2) == 3
