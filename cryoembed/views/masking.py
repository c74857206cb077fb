"""Which patches of a box a masked autoencoder may see: drawn with the batch, so that a resumed training sees the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cryoembed.views.pool import SubtomogramConfig, SubtomogramPool
from cryoembed.views.subtomograms import draw_boxes


def draw_masked(
    pool: SubtomogramPool,
    config: SubtomogramConfig,
    generator: np.random.Generator,
    *,
    batch: int,
    patches: int,
    mask_ratio: float,
) -> dict[str, Tensor]:
    """Draw boxes of any class, nuisances included at their share, and the patches that are shown of each.

    No further augmentation: every box has its own orientation, place, neighbours, microscope and noise already, and
    masks vary (He et al. 2022, section 4.1, find crops and flips enough).

    Returns
    -------
    dict
        ``input`` (batch, 1, box, box, box) and ``visible`` (batch, kept), see `visible_patches`.
    """
    templates = len(pool.templates)
    labels = generator.integers(templates, size=batch)
    others = generator.integers(templates, pool.classes, size=batch)
    labels = np.where(generator.random(batch) < config.nuisance_share, others, labels)
    boxes = draw_boxes(pool, config, labels, generator)[:, None]
    return {"input": boxes, "visible": visible_patches(generator, batch=batch, patches=patches, mask_ratio=mask_ratio)}


def visible_patches(generator: np.random.Generator, *, batch: int, patches: int, mask_ratio: float) -> Tensor:
    """Return (batch, kept) int64 indices, sorted, of the ``kept = patches - round(mask_ratio * patches)`` shown.

    Each box has its own uniformly random choice without replacement (He et al. 2022, section 3, "Masking"); one patch
    at least is shown, and one hidden.
    """
    kept = min(max(1, patches - round(mask_ratio * patches)), patches - 1)
    order = np.argsort(generator.random((batch, patches)), axis=1)[:, :kept]
    return torch.from_numpy(np.sort(order, axis=1))
