"""Work cut into blocks of rows or images; where its result goes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError


def row_blocks(height: int, size: int) -> list[slice]:
    """Slices of ``size`` rows that cover all of them."""
    return [slice(start, min(start + size, height)) for start in range(0, height, size)]


def check_out(out: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """``out`` if its shape is right, a new array if it is None."""
    if out is None:
        return np.empty(shape, dtype=np.float32)
    if out.shape != shape or out.dtype != np.float32:
        raise InputError(f"out is {out.dtype} of shape {out.shape}; expected float32 of shape {shape}")
    return out
