from __future__ import annotations

import math

import pytest
import torch

from cryoembed.losses.contrastive import contrastive_margin, normalised_softmax, nt_xent, supervised_contrastive


def naive_nt_xent(a: torch.Tensor, b: torch.Tensor, temperature: float) -> float:
    """Equation 1 of SimCLR, written out."""
    z = torch.nn.functional.normalize(torch.cat([a, b]).double(), dim=1)
    n, losses = len(z), []
    for i in range(n):
        partner = (i + n // 2) % n
        weights = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(n) if k != i}
        losses.append(-math.log(weights[partner] / sum(weights.values())))
    return sum(losses) / n


def naive_supervised(z: torch.Tensor, labels: list[int], temperature: float) -> float:
    """Equation 2 of Khosla et al. over anchors that have positives, written out."""
    z = torch.nn.functional.normalize(z.double(), dim=1)
    losses = []
    for i, label in enumerate(labels):
        positives = [p for p in range(len(z)) if p != i and labels[p] == label]
        if positives:
            weights = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(len(z)) if k != i}
            total = sum(weights.values())
            losses.append(-sum(math.log(weights[p] / total) for p in positives) / len(positives))
    return sum(losses) / len(losses)


def test_nt_xent_of_two_orthogonal_pairs() -> None:
    pairs = torch.eye(2)
    # each vector: its partner at cosine 1, two others at cosine 0, temperature 1
    expected = -math.log(math.e / (math.e + 2))
    assert nt_xent(pairs, 5 * pairs, temperature=1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_nt_xent_equals_the_written_out_sum(temperature: float) -> None:
    a, b = torch.randn(5, 7), torch.randn(5, 7)
    assert nt_xent(a, b, temperature=temperature).item() == pytest.approx(naive_nt_xent(a, b, temperature), rel=1e-5)


def test_nt_xent_equals_monais_contrastive_loss() -> None:
    losses = pytest.importorskip("monai.losses")
    a, b = torch.randn(6, 8), torch.randn(6, 8)
    torch.testing.assert_close(nt_xent(a, b, temperature=0.5), losses.ContrastiveLoss(temperature=0.5)(a, b))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1], [0, 1, 0, 2, 3], [4, 4, 4, 4, 4]])
def test_supervised_contrastive_equals_the_written_out_sum(labels: list[int]) -> None:
    z = torch.randn(5, 6)
    ours = supervised_contrastive(z, torch.tensor(labels), temperature=0.2)
    assert ours.item() == pytest.approx(naive_supervised(z, labels, 0.2), rel=1e-5)


def test_supervised_contrastive_of_pairs_is_nt_xent() -> None:
    a, b = torch.randn(4, 5), torch.randn(4, 5)
    labels = torch.arange(4).repeat(2)
    paired = supervised_contrastive(torch.cat([a, b]), labels, temperature=0.5)
    torch.testing.assert_close(paired, nt_xent(a, b, temperature=0.5))


def test_normalised_softmax_of_known_cosines() -> None:
    vectors, proxies = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.1, 0.0], [0.0, 9.0]])
    right = normalised_softmax(vectors, proxies, torch.tensor([0]), temperature=0.5)
    wrong = normalised_softmax(vectors, proxies, torch.tensor([1]), temperature=0.5)
    assert right.item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-5)  # cosines 1 and 0, over 0.5
    assert wrong.item() - right.item() == pytest.approx(2, rel=1e-5)


def test_vectors_without_a_partner_give_zero_and_no_nan_gradient() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    loss = supervised_contrastive(z, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(z.grad).all()


def test_tiny_temperatures_and_long_vectors_stay_finite() -> None:
    z = (1e4 * torch.randn(4, 8)).requires_grad_()
    loss = nt_xent(z, z + 1, temperature=1e-3) + supervised_contrastive(z, torch.tensor([0, 0, 1, 1]), temperature=1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def test_losses_are_float32_under_autocast() -> None:
    a, b = torch.randn(4, 64), torch.randn(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(a, b)
    torch.testing.assert_close(loss, nt_xent(a, b))


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(torch.eye(2), torch.eye(2), temperature=0.0)


def test_margin_loss_of_known_pairs() -> None:
    e1, e2 = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    together, apart = torch.tensor([True]), torch.tensor([False])
    assert contrastive_margin(e1, e2, together).item() == pytest.approx(2)  # d = sqrt 2 on the unit sphere
    assert contrastive_margin(e1, e2, apart).item() == 0
    assert contrastive_margin(e1, e2, apart, margin=2.0).item() == pytest.approx((2 - 2**0.5) ** 2)
    assert contrastive_margin(e1, e1, apart).item() == pytest.approx(1, abs=1e-5)


def test_margin_loss_equals_equation_17_written_out() -> None:
    a, b, same = torch.randn(6, 4), torch.randn(6, 4), torch.tensor([True, False] * 3)
    expected = 0.0
    for x, y, together in zip(a.double(), b.double(), same.tolist(), strict=True):
        d = float((x / x.norm() - y / y.norm()).norm())
        expected += d**2 if together else max(0.0, 1.3 - d) ** 2
    assert contrastive_margin(a, b, same, margin=1.3).item() == pytest.approx(expected / 6, rel=1e-5)


def test_margin_loss_of_equal_vectors_has_a_finite_gradient() -> None:
    a = torch.ones(2, 3, requires_grad=True)
    contrastive_margin(a, torch.ones(2, 3), torch.tensor([True, False])).backward()
    assert torch.isfinite(a.grad).all()


def test_a_margin_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        contrastive_margin(torch.eye(2), torch.eye(2), torch.tensor([True, True]), margin=0.0)
