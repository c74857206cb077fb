from __future__ import annotations

import pytest
import torch

from cryoembed.losses.cosine import negative_cosine, overlap_loss, symmetric_loss, total_loss


def test_negative_cosine_of_known_vectors() -> None:
    p = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    z = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert negative_cosine(p, z).item() == pytest.approx(-0.3)  # cosines 0.6 and 0
    assert negative_cosine(p, 7 * p).item() == pytest.approx(-1)
    assert negative_cosine(p, -p).item() == pytest.approx(1)


def test_dense_cosine_runs_over_channels_and_averages_voxels() -> None:
    p = torch.zeros(1, 2, 1, 1, 2)
    p[0, :, 0, 0, 0], p[0, :, 0, 0, 1] = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0])
    z = torch.zeros_like(p)
    z[0, 0] = 1
    assert negative_cosine(p, z).item() == pytest.approx(-0.3)


def test_a_zero_vector_gives_no_nan() -> None:
    p = torch.zeros(1, 4, requires_grad=True)
    negative_cosine(p, torch.ones(1, 4)).backward()
    assert torch.isfinite(p.grad).all()


def test_bf16_embeddings_are_compared_in_float32() -> None:
    p, z = torch.randn(8, 64), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = negative_cosine(p.bfloat16(), z.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(negative_cosine(p, z).item(), abs=1e-2)


def test_symmetric_loss_is_half_of_each_direction() -> None:
    e1, e2, diagonal = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    loss = symmetric_loss(predicted_a=e1, projected_a=e2, predicted_b=diagonal, projected_b=e1)
    assert loss.item() == pytest.approx(0.5 * -1 + 0.5 * -(0.5**0.5))


def test_embeddings_receive_no_gradient_and_predictions_do() -> None:
    tensors = [torch.randn(2, 3, requires_grad=True) for _ in range(4)]
    symmetric_loss(*tensors).backward()
    predicted_a, projected_a, predicted_b, projected_b = tensors
    assert projected_a.grad is None
    assert projected_b.grad is None
    assert predicted_a.grad.abs().sum() > 0
    assert predicted_b.grad.abs().sum() > 0


def views_of_one_field(shift: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two 8^3 views of one random field, displaced by (2, 4, 6); embeddings are the field itself."""
    field = torch.randn(2, 5, 16, 16, 16)
    a, b = field[:, :, :8, :8, :8], field[:, :, 2:10, 4:12, 6 + shift : 14 + shift]
    overlap_a = torch.tensor([[[2, 8], [4, 8], [6, 8]]] * 2)
    overlap_b = torch.tensor([[[0, 6], [0, 4], [0, 2]]] * 2)
    return a, b, overlap_a, overlap_b


def test_overlapping_voxels_of_two_views_of_one_field_agree_perfectly() -> None:
    a, b, overlap_a, overlap_b = views_of_one_field()
    assert overlap_loss(a, a, b, b, overlap_a, overlap_b).item() == pytest.approx(-1, abs=1e-6)


def test_a_displacement_by_one_voxel_is_seen() -> None:
    a, b, overlap_a, overlap_b = views_of_one_field(shift=1)
    assert overlap_loss(a, a, b, b, overlap_a, overlap_b).item() > -0.5


def test_voxels_outside_the_overlap_do_not_count() -> None:
    a, b, overlap_a, overlap_b = views_of_one_field()
    spoiled = a.clone()
    spoiled[:, :, :2], spoiled[:, :, :, :4], spoiled[..., :6] = 9, 9, 9
    assert overlap_loss(spoiled, spoiled, b, b, overlap_a, overlap_b).item() == pytest.approx(-1, abs=1e-6)


def test_level_regions_are_taken_at_the_levels_stride() -> None:
    a, b, overlap_a, overlap_b = views_of_one_field()
    loss = overlap_loss(a, a, b, b, 2 * overlap_a, 2 * overlap_b, stride=2)
    assert loss.item() == pytest.approx(-1, abs=1e-6)


def test_a_region_in_the_middle_of_a_level_is_found_at_its_own_place() -> None:
    level = torch.randn(1, 3, 8, 8, 8)
    moved = level.roll((-1, -2, -3), dims=(2, 3, 4))
    region = torch.tensor([[[4, 8], [6, 10], [8, 12]]])
    shift = torch.tensor([[[2], [4], [6]]])
    loss = overlap_loss(level, level, moved, moved, region, region - shift, stride=2)
    assert loss.item() == pytest.approx(-1, abs=1e-6)


def test_samples_may_overlap_differently() -> None:
    a, b, overlap_a, overlap_b = views_of_one_field()
    b = torch.stack([b[0], a[1]])
    whole = torch.tensor([[0, 8]] * 3)
    overlap_a, overlap_b = torch.stack([overlap_a[0], whole]), torch.stack([overlap_b[0], whole])
    assert overlap_loss(a, a, b, b, overlap_a, overlap_b).item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    ("region_a", "region_b"),
    [([0, 4], [0, 5]), ([3, 3], [3, 3]), ([6, 10], [0, 4]), ([-1, 3], [0, 4])],
    ids=["unequal", "empty", "beyond the end", "before the start"],
)
def test_regions_that_cannot_be_are_refused(region_a: list[int], region_b: list[int]) -> None:
    a = torch.randn(1, 2, 8, 8, 8)
    overlaps = [torch.tensor([[region, [0, 8], [0, 8]]]) for region in (region_a, region_b)]
    with pytest.raises(ValueError, match="overlap region"):
        overlap_loss(a, a, a, a, *overlaps)


def test_the_total_is_the_plain_sum_with_all_levels() -> None:
    terms = total_loss(torch.tensor(-0.5), torch.tensor(-0.25), [torch.tensor(-0.125), torch.tensor(-1.0)])
    assert terms.total.item() == pytest.approx(-1.875)
    assert terms.levels.item() == pytest.approx(-1.125)
    assert total_loss(torch.tensor(-0.5), torch.tensor(-0.25)).total.item() == pytest.approx(-0.75)
