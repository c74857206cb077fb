"""Geometry of tiles: cores that partition a volume, windows that carry a halo, and how the far faces are mirrored.

Windows start on multiples of the network's total stride, so that strided convolutions see the grid they see in a pass
over the whole volume; with a halo of the receptive field every core comes out as in that pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Span = tuple[int, int]  # start, stop in voxels


@dataclass(frozen=True)
class Tile:
    """One tile: per axis the voxels it answers for and those it computes (which may reach into the mirrored rim)."""

    core: tuple[Span, ...]
    window: tuple[Span, ...]

    @property
    def window_voxels(self) -> int:
        """Voxels to compute."""
        return math.prod(stop - start for start, stop in self.window)


def round_up(size: int, stride: int) -> int:
    """Smallest multiple of ``stride`` that is not below ``size``."""
    return -(-size // stride) * stride


def tiles(shape: Sequence[int], core: Sequence[int], *, halo: int, stride: int) -> Iterator[Tile]:
    """Cut a volume into tiles.

    Parameters
    ----------
    shape
        Sides in voxels.
    core
        Largest core per axis; rounded up to a multiple of ``stride``, cut at the far faces.
    halo
        Voxels that an output voxel can see beyond itself.
    stride
        The network's total stride; the volume counts as mirrored up to a multiple of it.
    """
    margin = round_up(halo, stride)

    def along(size: int, step: int) -> Iterator[tuple[Span, Span]]:
        step, end = round_up(step, stride), round_up(size, stride)
        for start in range(0, size, step):
            stop = min(start + step, size)
            yield (start, stop), (max(start - margin, 0), min(round_up(stop, stride) + margin, end))

    for spans in itertools.product(*map(along, shape, core)):
        yield Tile(tuple(core for core, _ in spans), tuple(window for _, window in spans))


def choose_core(shape: Sequence[int], *, halo: int, stride: int, most_voxels: float) -> tuple[int, ...]:
    """Cores, as few and as even as possible, whose windows hold at most ``most_voxels``.

    The axis with the longest core is halved, cut into thirds and so on until the window fits, but not below the halo:
    smaller cores would save little memory and multiply the work.
    """
    counts = [1] * len(shape)
    smallest = round_up(max(halo, 1), stride)
    while True:
        core = tuple(round_up(-(-size // count), stride) for size, count in zip(shape, counts, strict=True))
        ends = [round_up(size, stride) for size in shape]
        margin = 2 * round_up(halo, stride)
        window = math.prod(min(side + margin, end) for side, end in zip(core, ends, strict=True))
        axis = max(range(len(core)), key=core.__getitem__)
        if window <= most_voxels or core[axis] <= smallest:
            return core
        counts[axis] += 1


def mirrored(shape: Sequence[int], stride: int) -> list[npt.NDArray[np.intp]]:
    """Per axis, which voxel stands at each position of the volume padded to multiples of ``stride``.

    Far faces reflect; volumes too thin for that on any axis repeat their last plane, as `VoxelNetwork` pads them.
    """
    missing = [-size % stride for size in shape]
    reflects = all(far < size for far, size in zip(missing, shape, strict=True))

    def along(size: int, far: int) -> npt.NDArray[np.intp]:
        beyond = size - 2 - np.arange(far) if reflects else np.full(far, size - 1)
        return np.concatenate([np.arange(size), beyond]).astype(np.intp)

    return [along(size, far) for size, far in zip(shape, missing, strict=True)]
