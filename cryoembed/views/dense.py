"""Batches for the voxel network: pairs of overlapping views (DenseSimSiam), or crops with targets (heads)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cryoembed.views.augment import AugmentConfig, augment
from cryoembed.views.crops import cut_windows, draw_window_pairs
from cryoembed.views.scenes import CleanScene, Crops, SceneConfig

Batch = dict[str, Tensor]


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
) -> Batch:
    """Draw crops, image each twice, cut an overlapping window of each and augment.

    Returns
    -------
    dict
        ``view_a``, ``view_b``: (b, 1, window, window, window); ``overlap_a``, ``overlap_b``: (b, 3, 2) int64, zyx
        ``[start, stop)`` of the shared region in each view's voxels.
    """
    crops = Crops(scenes, batch, config, generator)
    pairs = draw_window_pairs(batch, config.crop_vox, window_vox, generator, min_overlap=min_overlap, stride=stride)
    views = [
        augment(cut_windows(crops.imaged(generator), starts, window_vox), augmentation, generator)
        for starts in (pairs.starts_a, pairs.starts_b)
    ]
    return {
        "view_a": views[0][:, None],
        "view_b": views[1][:, None],
        "overlap_a": torch.from_numpy(pairs.overlap_a),
        "overlap_b": torch.from_numpy(pairs.overlap_b),
    }


def draw_targets(
    scenes: Sequence[CleanScene], config: SceneConfig, generator: np.random.Generator, *, batch: int
) -> Batch:
    """Draw imaged crops with their targets: ``input``, ``clean`` and `scenes.TARGETS`, all (b, 1, z, y, x) float32."""
    crops = Crops(scenes, batch, config, generator)
    volumes = {"input": crops.imaged(generator), **crops.targets()}
    return {name: volume[:, None] for name, volume in volumes.items()}
