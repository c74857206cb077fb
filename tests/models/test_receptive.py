from __future__ import annotations

import pytest
import torch
from torch import nn

from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.receptive import receptive_field_halo, total_stride

NETWORKS = {
    "embedding": {"blocks": (1, 1, 1)},
    "heads": {"blocks": (1, 1), "heads": ("denoise",)},
    "deep": {"blocks": (2, 1, 1), "stem_kernel": 3},
    "stem of stride 2": {"blocks": (1, 1), "stem_stride": 2, "level_losses": (2,), "heads": ("denoise",)},
}


def tiny(
    *, blocks: tuple[int, ...], stem_kernel: int = 7, stem_stride: int = 1, **settings: object
) -> VoxelNetworkConfig:
    backbone = BackboneConfig(width=4, blocks=blocks, stem_kernel=stem_kernel, stem_stride=stem_stride)
    return VoxelNetworkConfig(
        backbone=backbone, pyramid_channels=4, global_dim=4, voxel_dim=4, head_channels=4, **settings
    )


def seeing_everything(config: VoxelNetworkConfig) -> VoxelNetwork:
    """All weights positive and no bias: every path that exists carries gradient, none is cut by a ReLU."""
    network = build(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(1.0 if parameter.ndim > 1 or name.endswith("1.weight") else 0.0)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm3d) and part.affine:
                part.weight.fill_(1.0)
                part.bias.zero_()
            if isinstance(part, nn.Conv3d):
                part.weight.div_(part.weight[0].numel())
    return network.double()


def measured_reach(network: VoxelNetwork, config: VoxelNetworkConfig) -> int:
    stride, reach = total_stride(config), 0
    middle = 12 * stride
    for voxel in range(middle, middle + stride):
        x = torch.ones(1, 1, stride, stride, 24 * stride, dtype=torch.float64, requires_grad=True)
        output = (
            network.forward_heads(x)["denoise"] if config.heads else network.voxel_projector(network.features(x)[0])
        )
        if not config.heads and config.backbone.stem_stride == 2:
            raise AssertionError("measure strided stems through a head")
        output[0, 0, 0, 0, voxel].backward()
        read = x.grad[0, 0].abs().sum(dim=(0, 1)).nonzero().flatten()
        assert read.min() > 0
        assert read.max() < x.shape[-1] - 1
        reach = max(reach, voxel - int(read.min()), int(read.max()) - voxel)
    return reach


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_halo_is_exactly_as_far_as_gradients_reach(settings: dict[str, object]) -> None:
    config = tiny(**settings)
    assert measured_reach(seeing_everything(config), config) == receptive_field_halo(config)


def test_the_thesis_network_needs_a_halo_of_forty_voxels() -> None:
    assert receptive_field_halo(VoxelNetworkConfig()) == 40
    assert total_stride(VoxelNetworkConfig()) == 8


def test_heads_see_further_unless_they_are_not_wanted() -> None:
    config = VoxelNetworkConfig(heads=("instance",))
    assert receptive_field_halo(config) == 42
    assert receptive_field_halo(config, heads=False) == 40


@pytest.mark.parametrize("length", [96, 91])
def test_a_tile_with_its_halo_gives_what_the_whole_volume_gives(length: int) -> None:
    config = tiny(blocks=(1, 1, 1), heads=("denoise",))
    network = build(config).eval()
    halo, stride = receptive_field_halo(config), total_stride(config)
    halo = -(-halo // stride) * stride
    volume = torch.randn(1, 1, 8, 9, length)
    whole = network.predict(volume, ("denoise", "embedding"))
    for start, stop in [(0, 32), (32, 64), (64, length)]:
        first, last = max(start - halo, 0), min(stop + halo, length)
        tile = network.predict(volume[..., first:last], ("denoise", "embedding"))
        for name in whole:
            torch.testing.assert_close(
                tile[name][..., start - first : stop - first], whole[name][..., start:stop], atol=1e-5, rtol=1e-4
            )


def test_a_halo_too_small_by_half_would_show() -> None:
    config = tiny(blocks=(1, 1, 1))
    network = build(config).eval()
    volume = torch.randn(1, 1, 8, 8, 96)
    part = network.embed(volume[..., 24:72])[..., 8:40]
    assert (part - network.embed(volume)[..., 32:64]).abs().max() > 1e-3
