from __future__ import annotations

import numpy as np
import torch

from cryoembed.views.masking import draw_masked, visible_patches
from cryoembed.views.pool import SubtomogramConfig, build_pool

CONFIG = SubtomogramConfig(box_vox=16, phantoms=3, mass_range_kda=(80, 150), seed=1)


def test_a_quarter_of_the_patches_is_shown_each_once() -> None:
    visible = visible_patches(np.random.default_rng(0), batch=50, patches=64, mask_ratio=0.75)
    assert visible.shape == (50, 16)
    assert visible.dtype == torch.int64
    assert (visible.diff(dim=1) > 0).all()
    assert visible.min() >= 0
    assert visible.max() <= 63
    # every patch has its turn, and boxes differ
    assert len(visible.unique()) == 64
    assert len(visible.unique(dim=0)) == 50


def test_one_patch_is_always_shown() -> None:
    assert visible_patches(np.random.default_rng(0), batch=1, patches=8, mask_ratio=0.99).shape == (1, 1)


def test_boxes_and_masks_are_those_of_the_seed_and_the_batchs_number() -> None:
    pool = build_pool(CONFIG)
    settings = {"batch": 4, "patches": 8, "mask_ratio": 0.75}
    draws = [draw_masked(pool, CONFIG, np.random.default_rng(seed), **settings) for seed in ((0, 7), (0, 7), (0, 8))]
    assert draws[0]["input"].shape == (4, 1, 16, 16, 16)
    assert draws[0]["visible"].shape == (4, 2)
    for name in ("input", "visible"):
        assert torch.equal(draws[0][name], draws[1][name])
        assert not torch.equal(draws[0][name], draws[2][name])
