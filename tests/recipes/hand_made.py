"""Networks whose weights are set by hand, so that what they must see is known: foreground follows brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from cryoembed.models.build import build
from cryoembed.models.checkpoint import save_weights
from cryoembed.models.config import (
    BackboneConfig,
    MaskedAutoencoderConfig,
    ModelCard,
    SubtomogramNetworkConfig,
    VitConfig,
    VoxelNetworkConfig,
)
from cryoembed.preprocess.config import InputConfig

VOXEL_SIZE = 10.0
BOX = 16
WHOLE_RANGE = InputConfig(voxel_size=VOXEL_SIZE, clip_percentiles=(0, 100), sample_stride=1)  # lone voxels survive
BACKBONE = BackboneConfig(width=4, blocks=(1, 1), stem_kernel=3)


def save_finder(
    path: Path, *, threshold: float, taps: Literal["centre", "around"] = "centre", inputs: InputConfig = WHOLE_RANGE
) -> Path:
    """A voxel network whose distance map is the brightness, and whose foreground is where that exceeds a threshold.

    ``taps="around"`` sums over the 27 voxels around (binomial weights, 1 in the middle) and adds a little of the coarse
    map, so that what lies beyond a tile's edge matters.
    """
    network = VoxelNetworkConfig(
        backbone=BACKBONE,
        pyramid_channels=4,
        voxel_dim=4,
        global_dim=4,
        head_channels=4,
        heads=("denoise", "instance"),
    )
    module = build(network)
    line = torch.tensor([0.0, 1.0, 0.0] if taps == "centre" else [0.5, 1.0, 0.5])
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            # scales of normalisations are the only vectors called weight
            parameter.fill_(1.0 if name.endswith("weight") and parameter.ndim == 1 else 0.0)
        module.backbone.stem[0].weight[0, 0] = line[:, None, None] * line[:, None] * line
        if taps == "around":
            module.backbone.stages[1][0].shortcut[0].weight[0, 0] = 0.1
        for lateral in module.pyramid.laterals:
            lateral.weight[0, 0] = 1.0
        for head in module.heads.values():
            head[0].weight[0, 0, 1, 1, 1] = 1.0
            head[3].weight[0, 0, 1, 1, 1] = 1.0
        module.heads["denoise"][6].weight[0, 0] = 1.0
        last = module.heads["instance"][6]  # distance, boundary, foreground
        last.weight[:, 0, 0, 0, 0] = torch.tensor([1.0, 0.0, 4.0])
        last.bias.copy_(torch.tensor([0.0, -10.0, -4.0 * threshold]))
    save_weights(path, module, ModelCard(name="sees brightness", network=network, input=inputs))
    return path


def save_encoder(path: Path, *, mask: str = "none", inputs: InputConfig = WHOLE_RANGE, seed: int = 0) -> Path:
    """A small subtomogram network with random weights."""
    network = SubtomogramNetworkConfig(backbone=BACKBONE, embedding_dim=16, box_vox=BOX, mask=mask)
    torch.manual_seed(seed)
    save_weights(path, build(network), ModelCard(name="tiny encoder", network=network, input=inputs))
    return path


def save_transformer(path: Path, *, inputs: InputConfig = WHOLE_RANGE) -> Path:
    """A small vision transformer with random weights, as masked-autoencoder pretraining leaves it: no projector."""
    blocks = VitConfig(width=12, depth=1, heads=2)
    network = MaskedAutoencoderConfig(encoder=blocks, decoder=blocks, embedding_dim=12, box_vox=BOX)
    torch.manual_seed(0)
    save_weights(path, build(network), ModelCard(name="tiny transformer", network=network, input=inputs))
    return path
