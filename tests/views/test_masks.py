"""Masks of training boxes lie on the particle, come in the asked shares, and are wrong by as much as asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.views.masks import MaskShares, draw_masks, mask_boxes

STRICT, HULL = MaskShares(none=0, strict=1), MaskShares(none=0, hull=1)


def shells(count: int) -> torch.Tensor:
    """Hollow cubes of 9 voxels, walls of one voxel, in boxes of 19."""
    own = torch.zeros(count, 19, 19, 19)
    own[:, 5:14, 5:14, 5:14] = 1
    own[:, 6:13, 6:13, 6:13] = 0
    return own


def test_without_errors_strict_is_the_support_and_hull_fills_it() -> None:
    own = shells(2)
    assert torch.equal(draw_masks(own, STRICT, 0.0, np.random.default_rng(0)), own > 0)
    filled = torch.zeros_like(own, dtype=torch.bool)
    filled[:, 5:14, 5:14, 5:14] = True
    assert torch.equal(draw_masks(own, HULL, 0.0, np.random.default_rng(0)), filled)


def test_errors_grow_and_shrink_masks_by_no_more_than_asked() -> None:
    solid = torch.zeros(60, 19, 19, 19)
    solid[:, 5:14, 5:14, 5:14] = 1
    masks = draw_masks(solid, STRICT, 2.0, np.random.default_rng(0))
    widths = masks[:, 9, 9].sum(dim=1)
    assert widths.min() == 7  # shrunk by less than 2 at either end
    assert widths.max() == 11
    assert masks[:, 9, 9, 9].all()


def test_an_eroded_mask_is_never_empty_and_background_stays_whole() -> None:
    own = torch.zeros(40, 9, 9, 9)
    own[:20, 4, 4, 4] = 1
    masks = draw_masks(own, STRICT, 2.0, np.random.default_rng(0))
    assert masks[:20, 4, 4, 4].all()
    assert masks[20:].all()


def test_kinds_come_in_the_asked_shares() -> None:
    masks = draw_masks(shells(300), MaskShares(none=0.5, hull=0.3, strict=0.2), 0.0, np.random.default_rng(1))
    voxels = masks.sum(dim=(1, 2, 3))
    shares = [float((voxels == size).float().mean()) for size in (19**3, 9**3, 9**3 - 7**3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.08)


def test_outside_is_zero_and_inside_untouched() -> None:
    boxes, masks = torch.randn(2, 4, 4, 4), torch.rand(2, 4, 4, 4) > 0.5
    masked = mask_boxes(boxes, masks)
    assert (masked[~masks] == 0).all()
    assert torch.equal(masked[masks], boxes[masks])


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InputError, match="sum to 1.5"):
        parse_config(MaskShares, {"none": 0.5, "hull": 1.0}, source="test")
