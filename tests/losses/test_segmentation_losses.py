from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError, jaxtyped

from cryoembed.losses.segmentation import (
    binary_cross_entropy,
    generalised_dice,
    instance_loss,
    mean_dice,
    semantic_loss,
    squared_error,
)


def volume(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 1, -1)


def test_squared_error_of_known_voxels() -> None:
    assert squared_error(volume(1, 2, 5), volume(1, 4, 4)).item() == pytest.approx(5 / 3)


def test_binary_cross_entropy_of_known_probabilities() -> None:
    logits = volume(0.0, math.log(3))  # probabilities 1/2 and 3/4
    expected = -(math.log(0.5) + math.log(0.25)) / 2
    assert binary_cross_entropy(logits, volume(1, 0)).item() == pytest.approx(expected)


def test_logits_of_any_size_stay_finite() -> None:
    assert binary_cross_entropy(volume(1000.0, -1000.0), volume(0, 1)).item() == pytest.approx(1000)


@pytest.mark.parametrize("loss", [squared_error, binary_cross_entropy])
def test_voxels_of_weight_zero_do_not_count_and_get_no_gradient(loss: object) -> None:
    predicted = volume(0.3, 0.7, -2.0).requires_grad_()
    target, known = volume(1, 0, 1), volume(1, 1, 0).bool()
    masked = loss(predicted, target, known)  # type: ignore[operator]
    assert masked.item() == pytest.approx(loss(predicted[..., :2], target[..., :2]).item())  # type: ignore[operator]
    masked.backward()
    assert predicted.grad[..., 2].item() == 0


def test_weights_form_a_weighted_mean() -> None:
    assert squared_error(volume(1, 2), volume(0, 0), volume(3, 1)).item() == pytest.approx((3 * 1 + 1 * 4) / 4)


def test_no_known_voxel_gives_zero_not_nan() -> None:
    assert squared_error(volume(1, 2), volume(0, 0), volume(0, 0)).item() == 0


def test_the_instance_loss_is_the_plain_sum_of_its_three_terms() -> None:
    x = torch.randn(3, 2, 1, 4, 4, 4)
    distance, boundary, foreground = torch.rand(3, 2, 1, 4, 4, 4).round()
    terms = instance_loss(*x, distance_target=distance, boundary_target=boundary, foreground_target=foreground)
    torch.testing.assert_close(terms.distance, F.mse_loss(x[0], distance))
    torch.testing.assert_close(terms.boundary, F.binary_cross_entropy(x[1].sigmoid(), boundary))
    torch.testing.assert_close(terms.foreground, F.binary_cross_entropy(x[2].sigmoid(), foreground))
    torch.testing.assert_close(terms.total, terms.distance + terms.boundary + terms.foreground)


def test_losses_of_bf16_outputs_are_float32() -> None:
    assert squared_error(volume(1, 2).bfloat16(), volume(1, 4)).dtype == torch.float32


def one_hot(classes: torch.Tensor, count: int) -> torch.Tensor:
    return F.one_hot(classes, count).movedim(-1, 1).float()


def test_generalised_dice_of_a_hand_computed_volume() -> None:
    # class volumes 3 and 1, weights 1/9 and 1; every voxel predicted (0.5, 0.5)
    target = one_hot(torch.tensor([0, 0, 0, 1]).reshape(1, 1, 1, 4), 2)
    shared, united = 1.5 / 9 + 0.5, (3 + 2) / 9 + (1 + 2)
    loss = generalised_dice(torch.full((1, 2, 1, 1, 4), 0.5), target, smooth=0.0)
    assert loss.item() == pytest.approx(1 - 2 * shared / united)
    assert generalised_dice(target, target).item() == pytest.approx(0, abs=1e-6)
    assert generalised_dice(1 - target, target).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("absent", [False, True], ids=["all classes", "a class is absent"])
def test_generalised_dice_equals_monais(absent: bool) -> None:
    losses = pytest.importorskip("monai.losses")
    classes = torch.randint(0, 2 if absent else 3, (2, 6, 6, 6))
    target, probabilities = one_hot(classes, 3), torch.randn(2, 3, 6, 6, 6).softmax(dim=1)
    expected = losses.GeneralizedDiceLoss(smooth_nr=0, smooth_dr=0)(probabilities, target)
    torch.testing.assert_close(generalised_dice(probabilities, target, smooth=0.0), expected)


def test_an_empty_sample_gives_a_finite_loss_and_gradient() -> None:
    probabilities = torch.rand(1, 2, 2, 2, 2, requires_grad=True)
    loss = generalised_dice(probabilities, torch.zeros(1, 2, 2, 2, 2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(probabilities.grad).all()


def test_targets_of_another_size_are_caught_by_the_shape_check() -> None:
    beartype = pytest.importorskip("beartype").beartype
    checked = jaxtyped(squared_error, typechecker=beartype)
    assert checked(volume(1), volume(1)).item() == 0
    with pytest.raises(TypeCheckError):
        checked(volume(1, 2), volume(1))


def test_the_semantic_loss_is_the_plain_sum_of_its_three_terms_over_known_voxels() -> None:
    logits, distance, target = torch.randn(2, 3, 4, 4, 4), torch.rand(2, 1, 4, 4, 4), torch.rand(2, 1, 4, 4, 4)
    classes = torch.randint(0, 3, (2, 1, 4, 4, 4))
    known = torch.zeros(2, 1, 4, 4, 4, dtype=torch.bool)
    known[..., :2] = True
    terms = semantic_loss(logits, distance, classes=classes, distance_target=target, known=known)
    seen, labels = logits[..., :2], classes[..., :2]
    torch.testing.assert_close(terms.cross_entropy, F.cross_entropy(seen, labels[:, 0]))
    whole = [
        x.movedim(1, 0).reshape(1, 3, -1, 1, 1)
        for x in (seen.softmax(1), F.one_hot(labels[:, 0]).movedim(-1, 1).float())
    ]
    torch.testing.assert_close(terms.dice, generalised_dice(*whole))
    torch.testing.assert_close(terms.distance, F.mse_loss(distance[..., :2], target[..., :2]))
    torch.testing.assert_close(terms.total, terms.cross_entropy + terms.dice + terms.distance)
    doubled = semantic_loss(
        logits, distance, classes=classes, distance_target=target, known=known, class_weights=2 * torch.ones(3)
    )
    torch.testing.assert_close(doubled.cross_entropy, 2 * terms.cross_entropy)


def test_in_the_mean_dice_a_missed_rare_class_does_not_hide_the_others() -> None:
    target = F.one_hot(torch.tensor([0] * 60 + [1] * 39 + [2]), 4).T.reshape(1, 4, 1, 1, -1).float()  # one voxel of 2
    blind, seeing = target.clone(), target.clone()
    blind[0, :3, 0, 0, 60:] = torch.tensor([1.0, 0.0, 0.0])[:, None]  # finds neither 1 nor 2
    seeing[0, :3, 0, 0, 99:] = torch.tensor([1.0, 0.0, 0.0])[:, None]  # misses 2 only
    assert mean_dice(target, target).item() == pytest.approx(0, abs=1e-5)
    assert mean_dice(blind, target).item() - mean_dice(seeing, target).item() > 0.3
    assert generalised_dice(blind, target).item() - generalised_dice(seeing, target).item() < 0.1


def test_generalised_dice_does_not_fade_with_the_size_of_the_volume() -> None:
    missed = torch.zeros(1, 2, 64, 64, 64)
    missed[:, 0] = 1  # background everywhere, though a tenth is the other class
    target = torch.zeros_like(missed)
    target[:, 1, :6] = 1
    target[:, 0, 6:] = 1
    small, large = generalised_dice(missed[..., :8, :8], target[..., :8, :8]), generalised_dice(missed, target)
    assert float(large) == pytest.approx(float(small), abs=1e-4)
