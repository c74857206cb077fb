"""Streaming gives what one pass gives, whatever the number of planes per step, and keeps few planes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cryoembed.infer.graph import record
from cryoembed.infer.streaming import PlaneBuffer, Stream
from tests.infer.conftest import OUTPUTS


def streamed(graph, volume: torch.Tensor, chunk: int) -> tuple[dict[str, torch.Tensor], Stream]:
    stream = Stream(graph, lambda a, b: volume[:, :, a:b], depth=volume.shape[2], chunk=chunk)
    slabs = [slab for _, _, slab in stream]
    return {name: torch.cat([slab[name] for slab in slabs], dim=2) for name in slabs[0]}, stream


@pytest.mark.parametrize("chunk", [1, 3, 8, 64])
@torch.inference_mode()
def test_streaming_equals_one_pass(voxels, chunk):
    volume = torch.randn(1, 1, 64, 24, 32, generator=torch.Generator().manual_seed(1))
    whole = voxels.predict(volume, OUTPUTS)
    graph = record(lambda x: voxels.predict(x, OUTPUTS), torch.zeros(1, 1, 16, 16, 16))
    maps, _ = streamed(graph, volume, chunk)
    for name in OUTPUTS:
        torch.testing.assert_close(maps[name], whole[name], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_networks_of_other_shapes_stream_too():
    torch.manual_seed(2)
    down = nn.Conv3d(4, 6, 2, stride=2)
    up = nn.Upsample(scale_factor=2, mode="nearest")
    first, dilated = nn.Conv3d(1, 4, 5, padding=2), nn.Conv3d(10, 3, 3, padding=2, dilation=2)

    def network(x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = nn.functional.gelu(first(x))
        coarse = torch.sigmoid(down(fine))
        joined = torch.cat([fine, up(coarse)], dim=1)
        joined += 1.0
        return {"out": dilated(joined).softmax(dim=1), "coarse": coarse, "fine": fine}

    volume = torch.randn(1, 1, 22, 8, 6)
    maps, _ = streamed(record(network, torch.zeros(1, 1, 8, 8, 8)), volume, 4)
    for name, whole in network(volume).items():
        torch.testing.assert_close(maps[name], whole, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_memory_does_not_grow_with_depth(voxels):
    graph = record(lambda x: voxels.predict(x, ("embedding",)), torch.zeros(1, 1, 16, 16, 16))
    peaks = [streamed(graph, torch.randn(1, 1, depth, 16, 16), 4)[1].peak_bytes for depth in (112, 224)]
    assert peaks[1] <= 1.05 * peaks[0]


def test_buffer_returns_planes_across_slabs_and_forgets_passed_ones():
    buffer, planes = PlaneBuffer(), torch.arange(12.0).reshape(1, 1, 12, 1, 1)
    for start, stop in ((0, 5), (5, 7), (7, 12)):
        buffer.append(planes[:, :, start:stop])
    assert torch.equal(buffer.view(3, 9), planes[:, :, 3:9])
    buffer.release(6)
    assert (buffer.start, buffer.stop) == (5, 12)
    assert torch.equal(buffer.view(6, 12), planes[:, :, 6:])
