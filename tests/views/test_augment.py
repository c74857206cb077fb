"""Augmentations do what they say, to each sample on its own, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from cryoembed.views.augment import AugmentConfig, add_noise, augment, filtered, mask_voxels

OFF = {f"{name}_probability": 0.0 for name in ("noise", "low_pass", "high_pass", "mask")}
VOLUMES = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 16, 16, 16), dtype=np.float32))


def config(**changes: object) -> AugmentConfig:
    return AugmentConfig.model_validate({**OFF, **changes})


def test_same_seed_gives_the_same_views_and_leaves_the_input() -> None:
    before = VOLUMES.clone()
    one, two = (augment(VOLUMES, AugmentConfig(), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(VOLUMES, before)
    assert not torch.equal(one, augment(VOLUMES, AugmentConfig(), np.random.default_rng(6)))


def test_everything_off_is_the_identity() -> None:
    assert torch.equal(augment(VOLUMES, config(), np.random.default_rng(0)), VOLUMES)


def test_noise_has_the_sigma_of_each_sample() -> None:
    noisy = add_noise(VOLUMES, torch.tensor([0.0, 0.1, 0.3, 0.5]), np.random.default_rng(0)) - VOLUMES
    assert noisy.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.0, 0.1, 0.3, 0.5], rel=0.05)


def test_masked_share_is_the_fraction_and_the_rest_is_untouched() -> None:
    masked = mask_voxels(VOLUMES, torch.tensor([0.0, 0.1, 0.3, 0.5]), np.random.default_rng(0))
    changed = masked != VOLUMES
    assert changed.float().mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.0, 0.1, 0.3, 0.5], abs=0.02)
    assert torch.allclose(masked[3][changed[3]], VOLUMES[3].mean(), atol=1e-5)


def test_low_pass_equals_a_gaussian_filter() -> None:
    smooth = filtered(VOLUMES, config(low_pass_probability=1.0, low_pass_sigma=(1.5, 1.5)), np.random.default_rng(0))
    expected = ndimage.gaussian_filter(VOLUMES[0].numpy(), 1.5, mode="wrap", truncate=8)
    assert np.allclose(smooth[0].numpy(), expected, atol=2e-3)


def test_high_pass_removes_the_mean_and_keeps_the_scale() -> None:
    sharp = filtered(VOLUMES + 5, config(high_pass_probability=1.0), np.random.default_rng(0))
    assert sharp.mean(dim=(1, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(sharp.std(dim=(1, 2, 3)), VOLUMES.std(dim=(1, 2, 3)), rtol=1e-3)
