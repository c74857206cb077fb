"""The masked autoencoder: patches come back in place, the encoder sees what it may see and no more."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from einops import rearrange
from jaxtyping import TypeCheckError, jaxtyped

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, read_card, save_weights
from cryoembed.models.config import MaskedAutoencoderConfig, ModelCard, VitConfig
from cryoembed.models.vit import MaskedAutoencoder, PatchTransformer, patchify, sine_positions
from cryoembed.training.objectives.contrastive import Contrastive

BLOCKS = VitConfig(width=12, depth=2, heads=2)
TINY = MaskedAutoencoderConfig(
    patch_vox=4, encoder=BLOCKS, decoder=VitConfig(width=6, depth=1, heads=1), embedding_dim=12, box_vox=8
)
VISIBLE = torch.tensor([[1, 6], [0, 3]])


@pytest.fixture
def network() -> MaskedAutoencoder:
    torch.manual_seed(0)
    return build(TINY).eval()


@pytest.fixture
def boxes() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))


def unpatchify(patches: torch.Tensor) -> torch.Tensor:
    """Eight patches of 4^3 voxels back in their places."""
    return rearrange(patches, "b (z y x) (pz py px) -> b 1 (z pz) (y py) (x px)", z=2, y=2, x=2, pz=4, py=4, px=4)


def test_patches_put_back_are_the_boxes(boxes: torch.Tensor) -> None:
    patches = patchify(boxes, 4)
    assert patches.shape == (2, 8, 64)
    assert torch.equal(unpatchify(patches), boxes)


def test_patch_five_is_the_one_at_z_one_y_zero_x_one(boxes: torch.Tensor) -> None:
    assert torch.equal(patchify(boxes, 4)[:, 5].reshape(2, 4, 4, 4), boxes[:, 0, 4:, :4, 4:])


def test_hidden_voxels_do_not_reach_the_encoder(network: MaskedAutoencoder, boxes: torch.Tensor) -> None:
    patches = patchify(boxes, 4)
    changed = patches + 5 * torch.randn_like(patches)
    for box, shown in enumerate(VISIBLE):
        changed[box, shown] = patches[box, shown]
    other = unpatchify(changed)
    assert not torch.equal(network.backbone(boxes), network.backbone(other))
    assert torch.equal(network.backbone(boxes, VISIBLE), network.backbone(other, VISIBLE))


def test_visible_voxels_reach_the_prediction_of_every_hidden_patch(
    network: MaskedAutoencoder, boxes: torch.Tensor
) -> None:
    boxes.requires_grad_()
    for patch in range(8):
        (gradient,) = torch.autograd.grad(network(boxes, VISIBLE)[1, patch].square().sum(), boxes)
        assert (patchify(gradient, 4)[1, VISIBLE[1]].abs().sum(dim=1) > 0).all()
        assert not gradient[0].any()


def test_a_token_knows_its_place_and_which_tokens_stand_for_hidden_patches(network: MaskedAutoencoder) -> None:
    same = torch.ones(1, 1, 8, 8, 8)
    tokens = network.backbone(same)[0]
    assert torch.pdist(tokens).min() > 1e-3
    here, there = torch.tensor([[0, 1]]), torch.tensor([[6, 7]])
    assert not torch.allclose(network.backbone(same, here), network.backbone(same, there), atol=1e-3)
    # the same two tokens shown in other places are other evidence
    shown = torch.randn(1, 2, 12)
    assert not torch.allclose(network.decoder(shown, here), network.decoder(shown, there), atol=1e-3)


def test_all_patches_visible_is_the_plain_encoder(network: MaskedAutoencoder, boxes: torch.Tensor) -> None:
    every = torch.arange(8).expand(2, 8)
    torch.testing.assert_close(network.backbone(boxes, every), network.backbone(boxes))


def test_positions_are_sines_and_cosines_of_z_then_y_then_x_and_all_differ() -> None:
    positions = sine_positions(3, 12)
    at = positions[1 * 9 + 2 * 3 + 0].double()  # z 1, y 2, x 0; two waves a third: rates 1 and 1 / 100
    for place, part in zip((1.0, 2.0, 0.0), at.split(4), strict=True):
        expected = torch.tensor([place, place / 100], dtype=torch.float64)
        torch.testing.assert_close(part, torch.cat([expected.sin(), expected.cos()]), atol=1e-6, rtol=0)
    assert torch.pdist(positions).min() > 0.1


def test_blocks_do_not_start_as_copies_of_one_another(network: MaskedAutoencoder) -> None:
    first, second = network.backbone.blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_the_vector_is_the_mean_token_of_length_one_whatever_scale_and_offset(
    network: MaskedAutoencoder, boxes: torch.Tensor
) -> None:
    vectors = network.embed(boxes)
    assert vectors.shape == (2, 12)
    standard = (boxes - boxes.mean(dim=(2, 3, 4), keepdim=True)) / boxes.std(dim=(2, 3, 4), keepdim=True, correction=0)
    mean = network.backbone(standard).mean(dim=1)
    torch.testing.assert_close(vectors, mean / mean.norm(dim=1, keepdim=True))
    torch.testing.assert_close(network.embed(7 * boxes - 3), vectors, atol=1e-5, rtol=0)


def test_predictions_under_bf16_autocast_are_nearly_those_in_float32(
    network: MaskedAutoencoder, boxes: torch.Tensor
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        fast = network(boxes, VISIBLE).float()
    exact = network(boxes, VISIBLE)
    assert torch.cosine_similarity(fast.flatten(), exact.flatten(), dim=0) > 0.999


def test_with_a_projector_the_vector_has_its_width(boxes: torch.Tensor) -> None:
    network = build(TINY.model_copy(update={"projector": True, "embedding_dim": 5, "decoder": None})).eval()
    assert network.embed(boxes).shape == (2, 5)
    with pytest.raises(ValueError, match="no decoder"):
        network(boxes, VISIBLE)


def test_saved_and_loaded_it_gives_the_same_vectors_and_predictions(
    network: MaskedAutoencoder, boxes: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "vit.safetensors"
    model_hash = save_weights(path, network, ModelCard(name="vit", network=TINY))
    loaded = load_weights(path)
    assert loaded.model_hash == model_hash
    assert read_card(path).network == TINY
    assert torch.equal(loaded.module.embed(boxes), network.embed(boxes))
    assert torch.equal(loaded.module(boxes, VISIBLE), network(boxes, VISIBLE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_vox": 10}, "box_vox 10 is not divisible by patch_vox 4"),
        ({"embedding_dim": 13}, "embedding_dim 13 must be encoder.width 12"),
        ({"encoder": {"width": 14}}, "multiple of 6"),
        ({"encoder": {"width": 12, "heads": 5}}, "width 12 is not divisible by heads 5"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_config(MaskedAutoencoderConfig, {**TINY.model_dump(), **change})


def test_shapes_in_signatures_are_true_and_checked(network: MaskedAutoencoder, boxes: torch.Tensor) -> None:
    beartype = pytest.importorskip("beartype").beartype
    checked = jaxtyped(PatchTransformer.forward, typechecker=beartype)
    assert checked(network.backbone, boxes, VISIBLE).shape == (2, 2, 12)
    with pytest.raises(TypeCheckError):
        checked(network.backbone, boxes, VISIBLE.float())


def test_the_transformer_learns_a_batch_by_heart() -> None:
    """What it lacks in trainings of minutes is data: nothing in it stops it from learning."""
    torch.manual_seed(0)
    config = TINY.model_copy(update={"decoder": None, "projector": True, "embedding_dim": 16})
    objective = Contrastive(build(config).train(), temperature=0.1)
    batch = {"input": torch.randn(12, 1, 8, 8, 8), "label": torch.arange(4).repeat_interleave(3)}
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.003)
    for _ in range(80):
        optimizer.zero_grad()
        terms = objective(batch)
        terms["loss"].backward()
        optimizer.step()
    assert terms["purity"] == 1
    assert terms["loss"].detach() < math.log(2) + 0.1  # the least that three boxes of a class can have
