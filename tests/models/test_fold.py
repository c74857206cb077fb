from __future__ import annotations

import torch
from torch import nn

from cryoembed.models.build import build
from cryoembed.models.config import BackboneConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.models.fold import fold_batchnorm

VOXEL = VoxelNetworkConfig(
    backbone=BackboneConfig(width=8), pyramid_channels=16, voxel_dim=8, heads=("denoise", "instance"), head_channels=8
)
OUTPUTS = ("denoise", "distance", "boundary", "foreground", "embedding")


def trained_a_little(network: nn.Module) -> nn.Module:
    """Statistics, scales and shifts unlike their start, so that folding them wrongly shows."""
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm3d | nn.BatchNorm1d):
                part.running_mean.normal_(std=0.3)
                part.running_var.uniform_(0.5, 2.0)
                if part.affine:
                    part.weight.uniform_(0.5, 1.5)
                    part.bias.normal_(std=0.3)
    return network.eval()


def test_a_folded_voxel_network_gives_the_same_outputs() -> None:
    network = trained_a_little(build(VOXEL))
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        plain, folded = network.predict(x, OUTPUTS), fold_batchnorm(network).predict(x, OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(folded[name], plain[name], atol=1e-5, rtol=1e-5)


def test_a_folded_subtomogram_network_gives_the_same_vectors() -> None:
    network = trained_a_little(build(SubtomogramNetworkConfig(backbone=BackboneConfig(width=8, stem_stride=2))))
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(fold_batchnorm(network).embed(x), network.embed(x), atol=1e-5, rtol=1e-5)


def test_no_normalisation_is_left_and_the_original_is_untouched() -> None:
    network = trained_a_little(build(VOXEL)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batchnorm(network)
    assert not any(isinstance(part, nn.BatchNorm3d | nn.BatchNorm1d) for part in folded.modules())
    assert not folded.training
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
