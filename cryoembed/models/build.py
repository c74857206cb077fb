"""The one list of networks: a new model is one file and one line here."""

from __future__ import annotations

from typing import overload

from cryoembed.models.config import SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.simsiam import SubtomogramNetwork

Network = VoxelNetwork | SubtomogramNetwork


@overload
def build(config: VoxelNetworkConfig) -> VoxelNetwork: ...
@overload
def build(config: SubtomogramNetworkConfig) -> SubtomogramNetwork: ...
def build(config: VoxelNetworkConfig | SubtomogramNetworkConfig) -> Network:
    """Return a freshly initialised network (torch's global generator decides; seed it for reproducible weights)."""
    match config:
        case VoxelNetworkConfig():
            return VoxelNetwork(config)
        case SubtomogramNetworkConfig():
            return SubtomogramNetwork(config)
