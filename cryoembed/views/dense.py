"""Batches for the voxel network: pairs of overlapping views (DenseSimSiam), or crops with targets (heads)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cryoembed.views.augment import AugmentConfig, augment
from cryoembed.views.crops import Index, cut_windows, draw_window_pairs
from cryoembed.views.imaging import Share
from cryoembed.views.scene_crops import Crops
from cryoembed.views.scenes import CleanScene, SceneConfig
from cryoembed.views.warp import WarpConfig, correspondence, draw_warps, turned_starts, warped

Batch = dict[str, Tensor]
Change = Callable[[Tensor], Tensor] | None


def draw_view_pairs(
    scenes: Sequence[CleanScene],
    config: SceneConfig,
    augmentation: AugmentConfig,
    generator: np.random.Generator,
    *,
    batch: int,
    window_vox: int,
    min_overlap: float,
    stride: int,
    share: Share = "nothing",
    warp: WarpConfig | None = None,
) -> Batch:
    """Draw crops, image each twice, cut an overlapping window of each and augment.

    Parameters
    ----------
    share
        What the views of a pair have in common; ``image`` goes with no warp.
    warp
        How the density of view b differs from that of view a before the microscope; None: not at all. With turns, crop
        and window are multiples of ``stride``.

    Returns
    -------
    dict
        ``view_a``, ``view_b``: (b, 1, window, window, window). Without a warp ``overlap_a``, ``overlap_b``: (b, 3, 2)
        int64, zyx ``[start, stop)`` of the shared region in each view's voxels. With one ``corresponds``: (b, 3, 4)
        float64, the affine map from voxels of view a to those of view b.
    """
    crops = Crops(scenes, batch, config, generator)
    pairs = draw_window_pairs(batch, config.crop_vox, window_vox, generator, min_overlap=min_overlap, stride=stride)
    change: Change = None
    starts_b = pairs.starts_b
    if warp is None or not warp.active:
        places = {"overlap_a": torch.from_numpy(pairs.overlap_a), "overlap_b": torch.from_numpy(pairs.overlap_b)}
    else:
        warps = draw_warps(batch, warp, generator)
        change, starts_b = (
            partial(warped, warps=warps),
            turned_starts(starts_b, warps.turn, config.crop_vox, window_vox),
        )
        places = {"corresponds": torch.from_numpy(correspondence(pairs, starts_b, warps, config.crop_vox))}
    microscopes = crops.microscopes(generator) if share == "microscope" else None
    once = crops.imaged(generator) if share == "image" else None

    def view(starts: Index, change: Change) -> Tensor:
        crop = crops.imaged(generator, microscopes=microscopes, change=change) if once is None else once
        return augment(cut_windows(crop, starts, window_vox), augmentation, generator)

    return {"view_a": view(pairs.starts_a, None)[:, None], "view_b": view(starts_b, change)[:, None], **places}


def draw_targets(
    scenes: Sequence[CleanScene], config: SceneConfig, generator: np.random.Generator, *, batch: int
) -> Batch:
    """Draw imaged crops with their targets: ``input``, ``clean`` and `scenes.TARGETS`, all (b, 1, z, y, x) float32."""
    crops = Crops(scenes, batch, config, generator)
    volumes = {"input": crops.imaged(generator), **crops.targets()}
    return {name: volume[:, None] for name, volume in volumes.items()}
