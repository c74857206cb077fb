"""Pairs of views cut from real tomograms, for adapting to them without labels: where to cut, and what may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from scipy import ndimage
from torch import Tensor

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.preprocess.config import Contrast
from cryoembed.rotations import HALF_TURNS
from cryoembed.views.augment import AugmentConfig, augment, cropped
from cryoembed.views.crops import Index, cut_windows, draw_window_pairs
from cryoembed.views.imaging import Range
from cryoembed.views.warp import correspondence, no_warps

Batch = dict[str, Tensor]
Volume = npt.NDArray[np.float32]
_SLAB_VOX = 64


class RealConfig(Config):
    """Unlabelled real tomograms that take part in a training."""

    tomograms: tuple[Path, ...] = Field((), description="files; two views of a place differ by augmentation only")
    halves: tuple[tuple[Path, Path], ...] = Field((), description="[even, odd] files: a view of each, noise apart")
    voxel_size: float | None = Field(None, gt=0, description="A; None reads the headers")
    contrast: Contrast = Field("auto", description="of the files")
    share: float = Field(0.25, gt=0, lt=1, description="of a batch that is real")
    weight: float = Field(1.0, gt=0, description="of the label-free loss (contrastive, refine)")
    peaks: int = Field(2000, ge=0, description="places per tomogram that look like particles")
    random_share: float = Field(0.3, ge=0, le=1, description="of pairs that are cut anywhere else")
    blob_sigma_vox: Range = Field((1.5, 3.0), description="the difference of Gaussians whose maxima are such places")
    shift_vox: int = Field(1, ge=0, description="largest offset of each view of a box, per axis")
    half_turns: bool = Field(True, description="views of a box differ by half turns, which keep the wedge")
    augment: AugmentConfig = AugmentConfig(wedge_probability=0.5, mask_probability=0.0)

    @model_validator(mode="after")
    def _usable(self) -> RealConfig:
        if not self.tomograms and not self.halves:
            raise ValueError("real needs files: give real.tomograms or real.halves, or leave real out")
        if not 0 < self.blob_sigma_vox[0] < self.blob_sigma_vox[1]:
            raise ValueError(f"blob_sigma_vox {self.blob_sigma_vox} must be positive and rising")
        return self

    def count(self, simulated: int) -> int:
        """Real pairs beside ``simulated`` simulated ones; two at least, as each is the other's negative."""
        return max(2, round(simulated * self.share / (1 - self.share)))


@dataclass(frozen=True, eq=False)
class RealVolume:
    """One prepared tomogram.

    Attributes
    ----------
    views
        One (z, y, x) volume, or two of equal shape with independent noise; may be memory maps.
    peaks
        (n, 3) zyx voxels that look like particles, the most likely first.
    """

    views: tuple[Volume, ...]
    peaks: Index


def real_volume(name: str, views: Sequence[Volume], config: RealConfig, *, edge_vox: int) -> RealVolume:
    """Check the volumes of one tomogram and find places to cut cubes of ``edge_vox``.

    Raises
    ------
    InputError
        If halves differ in shape, or cubes do not fit.
    """
    shapes = {view.shape for view in views}
    if len(shapes) > 1:
        raise InputError(f"{name}: its halves differ in shape, {sorted(shapes)}; give even and odd of one tomogram")
    shape = views[0].shape
    room = edge_vox + 2 * (config.shift_vox + 1)
    if min(shape) < room:
        raise InputError(
            f"{name}: {' x '.join(map(str, shape))} voxels are too few for cubes of {edge_vox} (with shifts: {room}); "
            "leave it out or take smaller boxes"
        )
    peaks = find_blobs(views, config.blob_sigma_vox, config.peaks)
    low, high = _limits(shape, edge_vox, config.shift_vox)
    return RealVolume(tuple(views), peaks[np.all((peaks >= low) & (peaks < high), axis=1)])


def find_blobs(views: Sequence[Volume], sigma_vox: Range, count: int) -> Index:
    """(n, 3) zyx local maxima of the difference of two Gaussians of the mean of ``views``, highest first, at most
    ``count``; slab by slab, so that memory stays bounded."""
    narrow, wide = sigma_vox
    reach = max(1, round(wide))
    halo = int(np.ceil(4 * wide)) + reach
    depth = views[0].shape[0]
    places, heights = np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=np.float32)
    for start in range(0, depth, _SLAB_VOX):
        low, stop = max(0, start - halo), min(depth, start + _SLAB_VOX)
        slab = np.mean([view[low : stop + halo] for view in views], axis=0, dtype=np.float32)
        blobs = ndimage.gaussian_filter(slab, narrow) - ndimage.gaussian_filter(slab, wide)
        highest = (blobs == ndimage.maximum_filter(blobs, size=2 * reach + 1)) & (blobs > 0)
        highest[: start - low], highest[stop - low :] = False, False
        found = np.argwhere(highest)
        places = np.concatenate([places, found + np.array([low, 0, 0])])
        heights = np.concatenate([heights, blobs[tuple(found.T)]])
        best = np.argsort(-heights, kind="stable")[:count]
        places, heights = places[best], heights[best]
    return places


def draw_real_boxes(
    volumes: Sequence[RealVolume], config: RealConfig, generator: np.random.Generator, *, pairs: int, box_vox: int
) -> tuple[Tensor, Tensor]:
    """Two views, each (pairs, 1, box, box, box), of ``pairs`` places: of both halves, or of the one volume there is.

    Each view has its own half turn, shift and augmentation; the place is at voxel ``box // 2`` before its shift.
    """
    boxes: list[list[Volume]] = [[], []]
    for _ in range(pairs):
        volume, centre = _place(volumes, config, generator, box_vox)
        for which, kept in enumerate(boxes):
            reflected = HALF_TURNS[int(generator.integers(4))] if config.half_turns else ()
            shift = generator.integers(-config.shift_vox, config.shift_vox + 1, size=3)
            start = centre - box_vox // 2 + shift
            start[list(reflected)] += 1 - box_vox % 2  # the middle voxel of an even box moves when reflected
            kept.append(np.flip(_cut(volume.views[which % len(volume.views)], start, box_vox), reflected))
    stacked = torch.from_numpy(np.stack([*boxes[0], *boxes[1]]).astype(np.float32))
    a, b = cropped(augment(stacked, config.augment, generator), config.augment, generator)[:, None].chunk(2)
    return a, b


def draw_real_windows(
    volumes: Sequence[RealVolume],
    config: RealConfig,
    generator: np.random.Generator,
    *,
    pairs: int,
    crop_vox: int,
    window_vox: int,
    min_overlap: float,
    stride: int,
    affine: bool,
) -> Batch:
    """Overlapping windows of ``pairs`` crops, as `cryoembed.views.dense.draw_view_pairs` gives them.

    Parameters
    ----------
    affine
        Whether correspondences are affine maps, as beside warped views, not regions; real views are never warped.
    """
    crops: list[list[Volume]] = [[], []]
    for _ in range(pairs):
        volume, centre = _place(volumes, config, generator, crop_vox)
        for which, kept in enumerate(crops):
            kept.append(_cut(volume.views[which % len(volume.views)], centre - crop_vox // 2, crop_vox))
    windows = draw_window_pairs(pairs, crop_vox, window_vox, generator, min_overlap=min_overlap, stride=stride)
    a, b = (
        augment(cut_windows(torch.from_numpy(np.stack(kept)), starts, window_vox), config.augment, generator)[:, None]
        for kept, starts in zip(crops, (windows.starts_a, windows.starts_b), strict=True)
    )
    if affine:
        places = correspondence(windows, windows.starts_b, no_warps(pairs), crop_vox)
        return {"view_a": a, "view_b": b, "corresponds": torch.from_numpy(places)}
    overlaps = {"overlap_a": windows.overlap_a, "overlap_b": windows.overlap_b}
    return {"view_a": a, "view_b": b, **{name: torch.from_numpy(value) for name, value in overlaps.items()}}


def _place(
    volumes: Sequence[RealVolume], config: RealConfig, generator: np.random.Generator, edge_vox: int
) -> tuple[RealVolume, Index]:
    volume = volumes[int(generator.integers(len(volumes)))]
    if len(volume.peaks) and generator.random() >= config.random_share:
        return volume, volume.peaks[int(generator.integers(len(volume.peaks)))]
    return volume, generator.integers(*_limits(volume.views[0].shape, edge_vox, config.shift_vox))


def _limits(shape: tuple[int, ...], edge_vox: int, shift_vox: int) -> tuple[Index, Index]:
    """First and beyond the last centre whose cubes fit, whatever their shift and half turn."""
    low = edge_vox // 2 + shift_vox
    return np.full(3, low), np.array(shape) - edge_vox + edge_vox // 2 - shift_vox


def _cut(volume: Volume, start: Index, edge_vox: int) -> Volume:
    z, y, x = (slice(int(first), int(first) + edge_vox) for first in start)
    return np.asarray(volume[z, y, x], dtype=np.float32)
