from __future__ import annotations

import pytest
import torch

from cryoembed.losses.masked import masked_error, normalised_patches


def test_the_error_is_the_mean_square_over_hidden_patches_alone() -> None:
    target = torch.zeros(1, 3, 2)
    predicted = torch.tensor([[[100.0, -100.0], [1.0, 3.0], [2.0, 0.0]]])
    error = masked_error(predicted, target, torch.tensor([[0]]))
    assert error.item() == pytest.approx((1 + 9 + 4 + 0) / 4)


def test_visible_patches_get_no_gradient() -> None:
    predicted = torch.randn(2, 4, 8, requires_grad=True)
    visible = torch.tensor([[0, 2], [1, 3]])
    masked_error(predicted, torch.randn(2, 4, 8), visible).backward()
    touched = predicted.grad.abs().sum(dim=2) > 0
    assert touched.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_normalised_patches_have_mean_zero_and_deviation_one_each() -> None:
    patches = torch.randn(2, 3, 64) * torch.tensor([1.0, 5.0, 0.1])[:, None] + 7
    normalised = normalised_patches(patches)
    torch.testing.assert_close(normalised.mean(dim=2), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std(dim=2, correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)
    assert torch.equal(normalised_patches(torch.full((1, 1, 8), 3.0)), torch.zeros(1, 1, 8))
