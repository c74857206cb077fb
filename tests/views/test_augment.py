"""Augmentations do what they say, to each sample on its own, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from cryoembed.views.augment import (
    AugmentConfig,
    add_noise,
    augment,
    cropped,
    filtered,
    mask_voxels,
    wedge_transfer,
    wedged,
)

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


def test_a_wedge_takes_its_share_of_the_spectrum_and_keeps_mean_and_scale() -> None:
    settings = config(wedge_probability=1.0, wedge_half_angle_deg=(30.0, 30.0))
    left = wedged(VOLUMES + 3, settings, np.random.default_rng(0))
    assert torch.allclose(left.mean(dim=(1, 2, 3)), VOLUMES.mean(dim=(1, 2, 3)) + 3, atol=1e-4)
    assert torch.allclose(left.std(dim=(1, 2, 3)), VOLUMES.std(dim=(1, 2, 3)), rtol=1e-3)
    before, after = (torch.fft.fftn(v, dim=(1, 2, 3)).abs() for v in (VOLUMES, left))
    gone = (after < 0.05 * before).float().mean(dim=(1, 2, 3))
    assert gone.min() > 0.2  # 60 of 180 degrees around the tilt axis, less the soft edge
    assert gone.max() < 0.4
    off = torch.equal(augment(VOLUMES, config(), np.random.default_rng(0)), VOLUMES)
    assert off


def test_the_wedge_lies_around_its_beam() -> None:
    transfer = wedge_transfer((16, 16, 16), 30.0, torch.eye(3))  # beam z, tilt axis y
    assert transfer[6, 0, 0] == 0  # along the beam
    assert transfer[0, 0, 6] == 1  # across it
    assert transfer[4, 5, 6] == 1  # 34 degrees above the plane: measured
    assert transfer[7, 5, 2] == 0


def test_cropping_keeps_a_sub_box_at_its_place_and_fills_the_rest() -> None:
    settings = config(crop_probability=1.0, crop_share=(0.49, 0.49))
    ones = torch.ones(8, 20, 20, 20)
    kept = cropped(ones, settings, np.random.default_rng(0))
    for box in kept:
        found = torch.nonzero(box)
        assert (found.max(dim=0).values - found.min(dim=0).values + 1 == 16).all()
        assert len(found) == 16**3
    assert len({tuple(torch.nonzero(box)[0].tolist()) for box in kept}) > 3  # at random places


def test_resized_crops_fill_the_box_and_up_to_the_share_goes() -> None:
    settings = config(crop_probability=1.0, crop_share=(0.0, 0.49), crop_mode="resize")
    z = torch.arange(20.0)[:, None, None].expand(20, 20, 20)[None].repeat(30, 1, 1, 1)
    kept = cropped(z, settings, np.random.default_rng(0))
    extent = kept.amax(dim=(1, 2, 3)) - kept.amin(dim=(1, 2, 3))
    assert extent.min() == pytest.approx(15, abs=1)
    assert extent.max() == pytest.approx(19, abs=1)
    assert torch.equal(cropped(z, config(), np.random.default_rng(0)), z)
