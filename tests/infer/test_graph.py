"""A recorded network knows what it reads; what is not local is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cryoembed.infer.graph import NotStreamable, record
from cryoembed.models.receptive import receptive_field_halo, total_stride

EXAMPLE = torch.zeros(1, 1, 16, 16, 16)


def graph_of(module: nn.Module):
    return record(lambda x: {"out": module(x)}, EXAMPLE)


@pytest.mark.parametrize("name", ["voxels", "coarse_voxels"])
def test_halo_covers_the_receptive_field_without_excess(name, request):
    network = request.getfixturevalue(name)
    for outputs, heads in ((("embedding",), False), (("embedding", "denoise"), True)):
        graph = record(lambda x, names=outputs: network.predict(x, names), torch.zeros(1, 1, 32, 32, 32))
        exact = receptive_field_halo(network.config, heads=heads)
        assert exact <= graph.halo <= exact + 2
        assert graph.total_stride == total_stride(network.config)


def test_layers_nobody_asked_for_fall_away(voxels):
    embedding = record(lambda x: {"embedding": voxels.predict(x, ("embedding", "denoise"))["embedding"]}, EXAMPLE)
    alone = record(lambda x: voxels.predict(x, ("embedding",)), EXAMPLE)
    assert [layer.name for layer in embedding.layers] == [layer.name for layer in alone.layers]


@pytest.mark.parametrize(
    "module",
    [
        nn.InstanceNorm3d(1),
        nn.BatchNorm3d(1).train(),
        nn.AdaptiveAvgPool3d(1),
        nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True),
        nn.MaxPool3d(2),
        nn.Softmax(dim=-1),
    ],
    ids=lambda module: type(module).__name__,
)
def test_operations_without_exact_tiles_are_refused(module):
    with pytest.raises(NotStreamable, match="cannot be computed in tiles"):
        graph_of(module)
