"""The one list of networks: a new model is one file and one line here."""

from __future__ import annotations

from typing import overload

from cryoembed.models.config import MaskedAutoencoderConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.models.vit import MaskedAutoencoder

Network = VoxelNetwork | SubtomogramNetwork | MaskedAutoencoder


@overload
def build(config: VoxelNetworkConfig) -> VoxelNetwork: ...
@overload
def build(config: SubtomogramNetworkConfig) -> SubtomogramNetwork: ...
@overload
def build(config: MaskedAutoencoderConfig) -> MaskedAutoencoder: ...
def build(config: VoxelNetworkConfig | SubtomogramNetworkConfig | MaskedAutoencoderConfig) -> Network:
    """Return a freshly initialised network (torch's global generator decides; seed it for reproducible weights)."""
    match config:
        case VoxelNetworkConfig():
            return VoxelNetwork(config)
        case SubtomogramNetworkConfig():
            return SubtomogramNetwork(config)
        case MaskedAutoencoderConfig():
            return MaskedAutoencoder(config)
