"""How the second view of a crop is turned, zoomed and shifted, and which voxel of it is which of the first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cryoembed.config import Config
from cryoembed.views.crops import Index, WindowPairs
from cryoembed.views.imaging import Range

Affine = npt.NDArray[np.float64]


class WarpConfig(Config):
    """What changes between the density of view a and that of view b; microscopes come afterwards, wedge along z."""

    turns: bool = Field(False, description="by one of the 24 rotations of the cube")
    mirror: bool = Field(False, description="with turns: mirror images too, for networks that need not know the hand")
    zoom: Range = Field((1.0, 1.0), description="factor, as if voxel sizes were off")
    shift_vox: float = Field(0.0, ge=0, lt=1, description="largest sub-voxel shift per axis")

    @property
    def active(self) -> bool:
        """Whether anything changes."""
        return self.turns or self.blurs

    @property
    def blurs(self) -> bool:
        """Whether voxels fall between voxels, so that densities and embeddings are interpolated."""
        return self.zoom != (1.0, 1.0) or self.shift_vox > 0


@dataclass(frozen=True)
class Warps:
    """One warp per crop: ``q - c = zoom * turn (p - c) + shift`` for the crop's middle voxel ``c``.

    Attributes
    ----------
    turn
        (n, 3, 3) signed permutations.
    zoom, shift
        (n,) and (n, 3) zyx voxels.
    """

    turn: Index
    zoom: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]


def cube_turns(*, mirror: bool = False) -> Index:
    """(24, 3, 3) rotation matrices of the cube acting on zyx, the identity first; (48, 3, 3) with mirror images."""
    axes = [np.eye(3, dtype=np.int64)[list(order)] for order in permutations(range(3))]
    signs = [np.diag(flips) for flips in product((1, -1), repeat=3)]
    every = [flips @ order for order in axes for flips in signs]
    return np.stack([turn for turn in every if mirror or np.linalg.det(turn) > 0])


def draw_warps(count: int, config: WarpConfig, generator: np.random.Generator) -> Warps:
    """Draw a warp for each of ``count`` crops."""
    turns = cube_turns(mirror=config.mirror) if config.turns else np.eye(3, dtype=np.int64)[None]
    return Warps(
        turn=turns[generator.integers(len(turns), size=count)],
        zoom=generator.uniform(*config.zoom, size=count),
        shift=generator.uniform(-config.shift_vox, config.shift_vox, size=(count, 3)),
    )


def no_warps(count: int) -> Warps:
    """``count`` times no change."""
    return Warps(np.stack([np.eye(3, dtype=np.int64)] * count), np.ones(count), np.zeros((count, 3)))


def warped(volumes: Tensor, warps: Warps) -> Tensor:
    """Warp (n, e, e, e) densities about their voxel ``e // 2``; what was outside is 0.

    Turns move voxels and change no value; zoom and shift interpolate linearly.
    """
    return torch.stack(
        [
            _resampled(turned(volume, turn), float(zoom), shift)
            for volume, turn, zoom, shift in zip(volumes, warps.turn, warps.zoom, warps.shift, strict=True)
        ]
    )


def turned(volume: Tensor, turn: Index) -> Tensor:
    """Turn one (e, e, e) volume by a signed permutation about voxel ``e // 2`` (e even).

    A reflected axis has its voxel 0 in place of voxel e, which is outside.
    """
    result = volume.permute(*np.abs(turn).argmax(axis=1).tolist())
    reflected = np.flatnonzero(turn.sum(axis=1) < 0).tolist()
    return result.flip(reflected).roll([1] * len(reflected), reflected) if reflected else result


def turned_starts(starts: Index, turn: Index, crop_vox: int, window_vox: int) -> Index:
    """(n, 3) first voxels, in the turned crop, of the windows that lay at ``starts`` before.

    Along reflected axes one voxel further than where the window's own voxels are, so that starts stay multiples of
    every stride that divides crop and window.
    """
    middle = starts * 2 + window_vox - crop_vox
    moved: Index = np.einsum("nij,nj->ni", turn, middle)
    return np.asarray((moved + crop_vox - window_vox) // 2, dtype=np.int64)


def correspondence(pairs: WindowPairs, starts_b: Index, warps: Warps, crop_vox: int) -> Affine:
    """(n, 3, 4) affine maps from voxels of view a to voxels of view b, which starts at ``starts_b`` of the warped crop.

    Voxel p of view a is shown at ``A p + t`` of view b, for A the first three columns and t the last.
    """
    centre = crop_vox // 2
    matrix = warps.turn * warps.zoom[:, None, None]
    offset = np.einsum("nij,nj->ni", matrix, pairs.starts_a - centre) + centre + warps.shift - starts_b
    return np.concatenate([matrix, offset[:, :, None]], axis=2)


def _resampled(volume: Tensor, zoom: float, shift: npt.NDArray[np.float64]) -> Tensor:
    if zoom == 1 and not shift.any():
        return volume
    edge = volume.shape[-1]
    index = torch.arange(edge, dtype=torch.float64)
    half = (edge - 1) / 2
    # grid_sample wants xyz in units of half the volume, -1 and 1 at the outermost voxel centres
    z, y, x = (((index - edge // 2 - amount) / zoom + edge // 2 - half) / half for amount in shift.tolist())
    grid = torch.stack(torch.meshgrid(z, y, x, indexing="ij"), dim=-1).flip(-1).to(volume.dtype)
    sampled: Tensor = F.grid_sample(volume[None, None], grid[None], align_corners=True, padding_mode="zeros")
    return sampled[0, 0]
