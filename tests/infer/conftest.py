"""Small networks whose every output is alive: random weights, normalisation statistics as after some training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cryoembed.models.build import build
from cryoembed.models.config import (
    BackboneConfig,
    MaskedAutoencoderConfig,
    SubtomogramNetworkConfig,
    VitConfig,
    VoxelNetworkConfig,
)
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.encoder import SubtomogramEncoder

OUTPUTS = ("embedding", "denoise", "distance", "boundary", "foreground", "semantic", "semantic_distance", "lamella")


def enliven(network: nn.Module, seed: int) -> None:
    """Give the normalisations statistics and scales as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d | nn.BatchNorm1d):
            part.running_mean.normal_(0.0, 0.2, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
            if part.affine:
                nn.init.uniform_(part.weight, 0.6, 1.4, generator=generator)
                nn.init.normal_(part.bias, 0.0, 0.2, generator=generator)


def voxel_network(stem_stride: int = 1) -> VoxelNetwork:
    torch.manual_seed(5)
    backbone = BackboneConfig(width=8, stem_stride=stem_stride)
    config = VoxelNetworkConfig(
        backbone=backbone,
        pyramid_channels=8,
        voxel_dim=8,
        head_channels=8,
        level_losses=(2,),
        heads=("denoise", "instance", "semantic", "lamella"),
    )
    network = build(config)
    enliven(network, 6)
    for head in network.heads.values():  # starts near its prior, too flat to tell voxels apart
        nn.init.normal_(head[-1].weight, std=0.1)
    return network.eval()


@pytest.fixture(scope="session")
def voxels() -> VoxelNetwork:
    return voxel_network()


@pytest.fixture(scope="session")
def coarse_voxels() -> VoxelNetwork:
    return voxel_network(stem_stride=2)


@pytest.fixture(scope="session", params=["simsiam", "vit"])
def boxes_network(request: pytest.FixtureRequest) -> SubtomogramEncoder:
    """Every kind of encoder of boxes of 24 voxels, 16-d."""
    torch.manual_seed(7)
    network: SubtomogramEncoder
    if request.param == "simsiam":
        backbone = BackboneConfig(width=8, stem_stride=2)
        network = build(SubtomogramNetworkConfig(backbone=backbone, embedding_dim=16, box_vox=24))
    else:
        blocks = VitConfig(width=24, depth=2, heads=2)
        network = build(
            MaskedAutoencoderConfig(encoder=blocks, decoder=None, projector=True, embedding_dim=16, box_vox=24)
        )
    enliven(network, 8)
    return network.eval()
