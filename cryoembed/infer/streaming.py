"""Layer-wise streaming: a graph computed in slabs of planes along z, every plane of every layer exactly once.

Each layer that is read more than once keeps a short buffer of recent planes; a plane leaves when its last reader has
passed. Nothing is computed twice and nothing is blended, so the result is that of a single pass over the whole volume,
while memory grows with the planes' area and not with their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from cryoembed.infer.graph import Graph, Input, Layer
from cryoembed.infer.kernels import convolve, upsample

FRESH = frozenset({"conv3d", "interpolate", "add", "__add__"})  # calls that make new planes
ReadPlanes = Callable[[int, int], Tensor]


class PlaneBuffer:
    """Planes [start, stop) of one layer, as the slabs they came in."""

    def __init__(self) -> None:
        self.start = self.stop = 0
        self._slabs: deque[Tensor] = deque()

    def append(self, slab: Tensor) -> None:
        """Add the planes that follow."""
        self._slabs.append(slab)
        self.stop += slab.shape[2]

    def view(self, start: int, stop: int) -> Tensor:
        """(1, c, stop - start, y, x); without a copy where one slab holds them all."""
        pieces, at = [], self.start
        for slab in self._slabs:
            low, high = max(start - at, 0), min(stop - at, slab.shape[2])
            if low < high:
                pieces.append(slab[:, :, low:high])
            at += slab.shape[2]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)

    def release(self, below: int) -> None:
        """Forget slabs that lie below a plane as a whole."""
        while self._slabs and self.start + self._slabs[0].shape[2] <= below:
            self.start += self._slabs.popleft().shape[2]

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(map(_bytes, self._slabs))


class Stream:
    """One pass of a graph over a column of planes.

    Parameters
    ----------
    graph
        The network; weights on the device and in the type that planes come in.
    read
        Gives planes [start, stop) of the column as (1, 1, stop - start, y, x); sides are multiples of the total stride.
    depth
        Number of planes, a multiple of the total stride.
    chunk
        Planes per step: memory against efficiency; the result does not depend on it.
    """

    def __init__(self, graph: Graph, read: ReadPlanes, *, depth: int, chunk: int) -> None:
        self._graph, self._read, self._depth, self._chunk = graph, read, depth, chunk
        self._readers: list[list[int]] = [[] for _ in graph.layers]
        for index, layer in enumerate(graph.layers):
            for parent in layer.parents:
                self._readers[parent].append(index)
        wanted = set(graph.outputs.values())
        self._buffers = {
            index: PlaneBuffer()
            for index, readers in enumerate(self._readers)
            if readers and (len(readers) + (index in wanted) > 1 or self._graph.layers[readers[0]].reads.overlapping)
        }
        self._emitted = 0
        self._passing = 0  # bytes that computations under way have taken out of buffers or made
        self.peak_bytes = 0

    def __iter__(self) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """Yield start, stop and the named maps of planes [start, stop), in input voxels, slab by slab."""
        while self._emitted < self._depth:
            start, stop = self._emitted, min(self._emitted + self._chunk, self._depth)
            slabs = {}
            for name, index in self._graph.outputs.items():
                stride = self._graph.layers[index].stride
                slabs[name] = self._planes(index, start // stride, -(-stop // stride))
            yield start, stop, slabs
            self._emitted = stop
            self._release()

    def _planes(self, index: int, start: int, stop: int) -> Tensor:
        buffer = self._buffers.get(index)
        if buffer is None:
            return self._compute(index, start, stop)
        step = max(self._chunk // self._graph.layers[index].stride, 1)
        while buffer.stop < stop:
            # by steps, because the first demand is a whole receptive field deep
            buffer.append(self._compute(index, buffer.stop, min(buffer.stop + step, stop)))
            self._release()
        return buffer.view(start, stop)

    def _compute(self, index: int, start: int, stop: int) -> Tensor:
        layer = self._graph.layers[index]
        if index == 0:
            return self._read(start, stop)
        low, high = layer.reads.planes(start, stop)
        inputs = {}
        for parent in layer.parents:
            planes = self._depth // self._graph.layers[parent].stride
            inputs[parent] = self._planes(parent, max(low, 0), min(high, planes))
            self._passing += _bytes(inputs[parent])
        result = self._evaluate(layer, inputs, start, stop)
        self._note(result)
        self._passing -= sum(map(_bytes, inputs.values()))
        return result

    def _evaluate(self, layer: Layer, inputs: dict[int, Tensor], start: int, stop: int) -> Tensor:
        first = layer.parents[0]
        volume, depth = inputs[first], self._depth // self._graph.layers[first].stride
        low, high = layer.reads.planes(start, stop)
        if layer.name == "conv3d":
            _, weight, bias, groups = layer.args
            missing = (max(-low, 0), max(high - depth, 0))
            # zeros beyond the volume's faces, only there: between slabs come the true neighbours
            padded = F.pad(volume, (0, 0, 0, 0, *missing)) if any(missing) else volume
            return convolve(padded, weight, bias, groups, layer.reads)
        if layer.name == "interpolate":
            mode = layer.kwargs["mode"]
            return upsample(volume, max(low, 0), depth, start, stop, factor=layer.reads.up, mode=mode)
        if layer.name in {"relu", "relu_"} and self._is_ours(first):
            return torch.relu_(volume)
        if layer.name in {"add", "__add__"} and len(inputs) == len(layer.args) == 2 and not layer.kwargs:
            mine = next((parent for parent in layer.parents if self._is_ours(parent)), None)
            if mine is not None:
                return inputs[mine].add_(inputs[sum(layer.parents) - mine])

        def resolve(value: object) -> object:
            return inputs[value.index] if isinstance(value, Input) else value

        result = layer.call(*tree_map(resolve, layer.args), **tree_map(resolve, dict(layer.kwargs)))
        assert isinstance(result, Tensor)
        return result

    def _is_ours(self, index: int) -> bool:
        """Whether nobody else holds a layer's planes: they may be overwritten, which is cheaper than new memory."""
        return index not in self._buffers and self._graph.layers[index].name in FRESH

    def _release(self) -> None:
        for index in self._buffers:
            self._buffers[index].release(self._lowest_needed(index))

    def _lowest_needed(self, index: int) -> int:
        """First plane of a layer that some reader has still to read."""
        needed = [self._emitted // self._graph.layers[index].stride] if index in self._graph.outputs.values() else []
        for reader in self._readers[index]:
            at = self._buffers[reader].stop if reader in self._buffers else self._lowest_needed(reader)
            needed.append(self._graph.layers[reader].reads.planes(at, at + 1)[0])
        return min(needed)

    def _note(self, result: Tensor) -> None:
        held = sum(buffer.bytes for buffer in self._buffers.values())
        self.peak_bytes = max(self.peak_bytes, held + self._passing + _bytes(result))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
