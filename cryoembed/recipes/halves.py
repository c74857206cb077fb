"""Two halves of one tomogram, from even and odd tilts or frames: do they belong together, and prepared alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN, Triple
from cryoembed.io.mrc import read_tomogram
from cryoembed.preprocess.config import Contrast, InputConfig
from cryoembed.preprocess.intensity import decide_contrast, strided_sample
from cryoembed.preprocess.prepare import Prepared, prepare
from cryoembed.tomogram import Tomogram

MOST_ALIKE = 0.99  # correlation; halves with noise of their own stay far below


def read_halves(
    even: Path, odd: Path, *, voxel_size: float | None = None, origin: Triple = ORIGIN
) -> tuple[Tomogram, Tomogram]:
    """Read two halves.

    Raises
    ------
    InputError
        If a file cannot be read, or their shapes or voxel sizes differ.
    """
    first, second = (read_tomogram(path, voxel_size=voxel_size, origin=origin) for path in (even, odd))
    if first.shape != second.shape:
        raise InputError(f"halves {even} and {odd} have {first.shape} and {second.shape} voxels; expected one shape")
    if not np.isclose(first.voxel_size, second.voxel_size, rtol=1e-3):
        raise InputError(
            f"halves {even} and {odd} have voxels of {first.voxel_size:g} and {second.voxel_size:g} A; expected one "
            "size, give voxel_size if a header is wrong"
        )
    return first, second


def prepare_halves(
    halves: tuple[Tomogram, Tomogram], config: InputConfig, *, contrast: Contrast = "auto", scratch: Path | None = None
) -> tuple[Prepared, Prepared]:
    """Prepare both as `prepare` does, with one contrast: that of the half which tells it more clearly.

    Raises
    ------
    InputError
        As `prepare`; if the halves clearly have different contrast, or are the same volume: a network trained on them
        would learn to change nothing.
    """
    decisions = [decide_contrast(half, contrast) for half in halves]
    clear = [decision.contrast for decision in decisions if decision.confident]
    names = " and ".join(half.name for half in halves)
    if len(set(clear)) > 1:
        raise InputError(f"halves {names}: particles look {' and '.join(clear)}; say which with contrast")
    shared = clear[0] if clear else decisions[0].contrast
    even, odd = (
        prepare(half, config, contrast=shared, scratch=None if scratch is None else scratch / str(index))
        for index, half in enumerate(halves)
    )
    first, second = (strided_sample(half.tomogram.data, config.sample_stride).ravel() for half in (even, odd))
    alike = float(np.corrcoef(first, second)[0, 1])
    if alike > MOST_ALIKE:
        raise InputError(
            f"halves {names} correlate by {alike:.4f}: they are one volume, or have no noise of their own; "
            "reconstruct one from the even and one from the odd tilts, or use method: blind_spot"
        )
    return even, odd
