from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cryoembed.errors import InputError
from cryoembed.models.backbone import Backbone
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, save_weights
from cryoembed.models.config import BackboneConfig, ModelCard, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork

SMALL = VoxelNetworkConfig(
    backbone=BackboneConfig(width=16),
    pyramid_channels=32,
    voxel_dim=16,
    global_dim=64,
    heads=("denoise", "instance"),
    head_channels=8,
)
TINY = VoxelNetworkConfig(
    backbone=BackboneConfig(width=4, stem_kernel=3),
    pyramid_channels=8,
    voxel_dim=8,
    global_dim=8,
    level_losses=(2, 4),
    heads=("denoise", "instance"),
    head_channels=4,
)


@pytest.fixture
def tiny() -> VoxelNetwork:
    return settle(build(TINY))


def settle(network: VoxelNetwork) -> VoxelNetwork:
    """Give the normalisations statistics unlike their start, as training does."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d | nn.BatchNorm1d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network.eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_thesis_backbone_has_the_size_of_a_resnet10() -> None:
    assert parameters(Backbone(BackboneConfig())) == 14_355_520  # MONAI's, less its 400 classes and shortcut biases


def test_the_thesis_network_is_within_a_percent_of_its_published_size() -> None:
    assert parameters(build(VoxelNetworkConfig())) == pytest.approx(15_345_088, rel=0.01)


def test_the_backbone_equals_monais_with_the_same_weights() -> None:
    resnet = pytest.importorskip("monai.networks.nets.resnet")
    widths = [8, 16, 32, 64]
    peer = resnet.ResNet("basic", [1, 1, 1, 1], widths, n_input_channels=1, no_max_pool=True, bias_downsample=False)
    ours = Backbone(BackboneConfig(width=8)).eval()
    theirs = [tensor for name, tensor in peer.eval().state_dict().items() if not name.startswith("fc")]
    names = list(ours.state_dict())
    assert [tensor.shape for tensor in ours.state_dict().values()] == [tensor.shape for tensor in theirs]
    ours.load_state_dict(dict(zip(names, theirs, strict=True)))
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        expected = peer.layer4(peer.layer3(peer.layer2(peer.layer1(peer.act(peer.bn1(peer.conv1(x)))))))
        torch.testing.assert_close(ours(x)[-1], expected)


def test_the_small_network_costs_less_than_100_kflop_per_voxel() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = build(SMALL).eval()
    x = torch.zeros(1, 1, 16, 16, 16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.predict(x, ("denoise", "distance", "boundary", "foreground"))
    assert 60e3 < counter.get_total_flops() / x.numel() < 100e3


def test_pyramid_maps_run_fine_to_coarse_at_the_strides_of_the_backbone(tiny: VoxelNetwork) -> None:
    maps = tiny.features(torch.randn(1, 1, 16, 24, 32))
    assert [tuple(level.shape) for level in maps] == [(1, 8, 16 // s, 24 // s, 32 // s) for s in (1, 2, 4, 8)]


def test_a_view_gives_global_dense_and_level_embeddings(tiny: VoxelNetwork) -> None:
    view = tiny(torch.randn(2, 1, 16, 16, 16))
    assert view.whole.projected.shape == view.whole.predicted.shape == (2, 8)
    assert view.dense.projected.shape == view.dense.predicted.shape == (2, 8, 16, 16, 16)
    assert {stride: level.projected.shape[2] for stride, level in view.levels.items()} == {2: 8, 4: 4}


@pytest.mark.parametrize("size", [(8, 8, 8), (13, 16, 21), (1, 9, 3), (5, 5, 5)])
def test_any_size_of_volume_comes_back_at_its_size(tiny: VoxelNetwork, size: tuple[int, int, int]) -> None:
    outputs = ("denoise", "distance", "boundary", "foreground", "embedding")
    given = tiny.predict(torch.randn(2, 1, *size), outputs)
    assert {name: tuple(output.shape) for name, output in given.items()} == {
        name: (2, 8 if name == "embedding" else 1, *size) for name in outputs
    }
    assert all(torch.isfinite(output).all() for output in given.values())


def test_padding_leaves_voxels_beyond_the_halo_as_they_were(tiny: VoxelNetwork) -> None:
    x = torch.randn(1, 1, 16, 16, 80)
    torch.testing.assert_close(tiny.embed(x[..., :75])[..., :16], tiny.embed(x)[..., :16])


def test_a_stem_of_stride_two_still_embeds_every_voxel() -> None:
    config = TINY.model_copy(update={"backbone": BackboneConfig(width=4, stem_stride=2), "level_losses": (4,)})
    network = build(config).eval()
    view = network(torch.randn(2, 1, 16, 16, 16))
    assert view.dense.projected.shape[2:] == (16, 16, 16)
    assert view.levels[4].projected.shape[2:] == (4, 4, 4)
    assert network.embed(torch.randn(1, 1, 11, 16, 16)).shape == (1, 8, 11, 16, 16)


def test_embeddings_have_length_one(tiny: VoxelNetwork) -> None:
    x = torch.randn(2, 1, 8, 8, 8)
    torch.testing.assert_close(tiny.embed(x).norm(dim=1), torch.ones(2, 8, 8, 8))
    torch.testing.assert_close(tiny.embed_globally(x).norm(dim=1), torch.ones(2))


def test_a_network_without_a_global_embedding_embeds_voxels_alone(tmp_path: Path) -> None:
    network = build(TINY.model_copy(update={"global_dim": 0}))
    save_weights(tmp_path / "w.safetensors", network, ModelCard(name="dense", network=network.config))
    loaded = load_weights(tmp_path / "w.safetensors").module
    assert loaded.embed(torch.randn(2, 1, 8, 8, 8)).shape == (2, 8, 8, 8, 8)
    with pytest.raises(InputError, match="global_dim is 0"):
        loaded.embed_globally(torch.randn(2, 1, 8, 8, 8))


def test_predictions_are_the_sigmoids_of_the_logits_and_the_rest_as_it_is(tiny: VoxelNetwork) -> None:
    x = torch.randn(1, 1, 8, 8, 8)
    raw, given = tiny.forward_heads(x), tiny.predict(x, ("foreground", "boundary", "denoise", "distance"))
    assert list(given) == ["foreground", "boundary", "denoise", "distance"]
    assert list(tiny.predict(x)) == ["denoise", "distance", "boundary", "foreground"]
    for name in ("boundary", "foreground"):
        torch.testing.assert_close(given[name], raw[name].sigmoid())
    for name in ("denoise", "distance"):
        torch.testing.assert_close(given[name], raw[name])


def test_foreground_starts_near_its_prior_not_at_a_half() -> None:
    network = build(SMALL).eval()
    given = network.predict(torch.randn(1, 1, 16, 16, 16), ("foreground", "boundary"))
    assert given["foreground"].mean().item() == pytest.approx(0.1, abs=0.03)
    assert given["boundary"].mean().item() == pytest.approx(0.05, abs=0.03)


def test_heads_can_be_chosen_and_train_the_backbone(tiny: VoxelNetwork) -> None:
    tiny.train()
    outputs = tiny.forward_heads(torch.randn(2, 1, 8, 8, 8), ["instance"])
    assert set(outputs) == {"distance", "boundary", "foreground"}
    sum(output.square().mean() for output in outputs.values()).backward()
    assert tiny.backbone.stem[0].weight.grad.abs().sum() > 0
    assert tiny.heads["denoise"][0].weight.grad is None


def test_an_output_the_network_does_not_have_is_refused_by_name() -> None:
    network = build(TINY.model_copy(update={"heads": ("denoise",)})).eval()
    x = torch.randn(1, 1, 8, 8, 8)
    with pytest.raises(InputError, match="gives denoise, embedding, not foreground"):
        network.predict(x, ("foreground",))
    with pytest.raises(InputError, match="no head instance"):
        network.forward_heads(x, ["instance"])


def test_the_same_seed_builds_the_same_network() -> None:
    torch.manual_seed(3)
    first = build(TINY).state_dict()
    torch.manual_seed(3)
    second = build(TINY).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bf16_training_of_small_views_has_finite_gradients() -> None:
    network = build(TINY).train()
    with torch.autocast("cpu", torch.bfloat16):
        view = network(torch.randn(2, 1, 16, 16, 16))
    assert view.whole.projected.requires_grad
    (view.whole.predicted.float().square().mean() + view.dense.predicted.float().square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
