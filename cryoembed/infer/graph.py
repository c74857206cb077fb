"""A network as a graph of local operations: what each one reads of its input along an axis, so that it can be streamed.

The network runs once on a tiny volume while its calls are recorded. Calls that the outputs do not need fall away, and
anything that is not local (a global pooling, an instance norm) is refused: it has no exact tiles.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

Triple = tuple[int, int, int]

# calls whose result at a voxel depends on that voxel alone; those in ACROSS_CHANNELS must name dim 1
# fmt: off
POINTWISE = frozenset({
    "float", "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus", "exp", "log1p", "abs",
    "square", "sqrt", "neg", "clamp", "clamp_min", "clamp_max", "add", "sub", "mul", "div", "__add__", "__radd__",
    "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__neg__",
})
IN_PLACE: dict[str, Callable[..., Any]] = {
    "relu_": torch.relu,
    "__iadd__": torch.add,
    "add_": torch.add,
    "__imul__": torch.mul,
    "mul_": torch.mul,
}
# fmt: on
ACROSS_CHANNELS = frozenset({"cat", "normalize", "softmax", "log_softmax"})
# calls that give back their input wherever they keep its shape (no dropout in evaluation mode, nothing to pad or crop)
UNCHANGED = frozenset(
    {"contiguous", "clone", "detach", "dropout", "dropout3d", "to", "pad", "interpolate", "__getitem__"}
)


class NotStreamable(TypeError):
    """The network holds an operation that no tile can compute exactly."""


@dataclass(frozen=True)
class Input:
    """Stands for the result of another operation inside recorded arguments."""

    index: int


@dataclass(frozen=True)
class Reads:
    """What is read along each axis: kernel, stride, padding (zeros), dilation; or, ``up``, a factor of upsampling."""

    kernel: Triple = (1, 1, 1)
    stride: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)
    dilation: Triple = (1, 1, 1)
    up: int = 1

    def planes(self, start: int, stop: int) -> tuple[int, int]:
        """Input planes (along z, not clipped to the volume) that output planes [start, stop) depend on."""
        if self.up > 1:
            return start // self.up - 1, (stop - 1) // self.up + 2
        first = start * self.stride[0] - self.padding[0]
        last = (stop - 1) * self.stride[0] - self.padding[0] + self.dilation[0] * (self.kernel[0] - 1)
        return first, last + 1

    @property
    def overlapping(self) -> bool:
        """Whether neighbouring output planes share input planes."""
        return self.up > 1 or self.kernel[0] > self.stride[0]

    @property
    def reach(self) -> int:
        """Largest distance, in input voxels, at which an input voxel matters."""
        if self.up > 1:
            return 1
        spans = (dil * (ker - 1) - pad for dil, ker, pad in zip(self.dilation, self.kernel, self.padding, strict=True))
        return max(*self.padding, *spans)


@dataclass(frozen=True)
class Layer:
    """One recorded call; `parents` are indices of earlier layers, `stride` is in input voxels per output voxel."""

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[int, ...] = ()
    stride: int = 1
    channels: int = 1
    reads: Reads = Reads()


@dataclass(frozen=True)
class Graph:
    """Layers in order of computation (layer 0 is the volume) and the layers that are asked for, by name."""

    layers: tuple[Layer, ...]
    outputs: Mapping[str, int]

    @property
    def halo(self) -> int:
        """Exact reach, in input voxels, of the furthest-seeing output: beyond it nothing matters."""
        reach = [0] * len(self.layers)
        for index, layer in enumerate(self.layers):
            for parent in layer.parents:
                step = layer.reads.reach * self.layers[parent].stride
                reach[index] = max(reach[index], reach[parent] + step)
        return max(reach[index] for index in self.outputs.values())

    @property
    def total_stride(self) -> int:
        """Coarsest stride: volumes are padded to a multiple of it, and windows start on one."""
        return max(layer.stride for layer in self.layers)

    def to(self, device: torch.device, dtype: torch.dtype, memory_format: torch.memory_format) -> Graph:
        """Return the graph with its weights moved, cast and laid out."""

        def move(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            moved = value.to(device, dtype if value.is_floating_point() else value.dtype)
            if moved.ndim != 5 or memory_format != torch.channels_last_3d:
                return moved
            # strides spelt out: with one input channel both layouts are the same, and oneDNN would choose the other
            _, channels, depth, height, width = moved.shape
            row, plane = channels * width, channels * width * height
            strides = (plane * depth, 1, plane, row, channels)
            return torch.empty_strided(moved.shape, strides, dtype=moved.dtype, device=device).copy_(moved)

        layers = (replace(layer, args=tree_map(move, layer.args)) for layer in self.layers)
        return replace(self, layers=tuple(layers))


def record(run: Callable[[Tensor], Mapping[str, Tensor]], example: Tensor) -> Graph:
    """Record what `run` does to a volume.

    Parameters
    ----------
    run
        From a (1, 1, z, y, x) volume to named maps; modules in it must be in evaluation mode.
    example
        A small volume whose sides are multiples of the network's total stride.

    Raises
    ------
    NotStreamable
        If a call is not local or not known to be.
    """
    recorder = _Recorder(example)
    with torch.no_grad(), recorder:
        results = dict(run(example))
    outputs = {name: recorder.index_of(tensor) for name, tensor in results.items()}
    return _prune(Graph(tuple(recorder.layers), outputs))


class _Recorder(TorchFunctionMode):
    """Turns every call that makes a tensor of one that stems from the volume into a Layer."""

    def __init__(self, volume: Tensor) -> None:
        super().__init__()
        self.layers = [Layer("volume", operator.pos, ())]
        self.sides = tuple(volume.shape[2:])
        self._index: dict[int, int] = {id(volume): 0}
        self._alive: list[Tensor] = [volume]  # an id is only unique while its tensor lives

    def index_of(self, tensor: Tensor) -> int:
        return self._index[id(tensor)]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        leaves = tree_flatten((args, kwargs))[0]
        traced = [leaf for leaf in leaves if isinstance(leaf, Tensor) and id(leaf) in self._index]
        if traced and isinstance(result, Tensor):
            self._name(result, self._add(func, args, kwargs, traced, result))
        return result

    def _name(self, tensor: Tensor, index: int) -> None:
        self._index[id(tensor)] = index
        self._alive.append(tensor)

    def _add(self, func: Any, args: Any, kwargs: Any, traced: list[Tensor], result: Tensor) -> int:
        name = getattr(func, "__name__", str(func))
        first = traced[0]
        if name in UNCHANGED and result.shape == first.shape:
            return self.index_of(first)
        _require(result.ndim == 5 and all(tensor.ndim == 5 for tensor in traced), name, "is not a map of voxels")

        def refer(value: Any) -> Any:
            return Input(self.index_of(value)) if isinstance(value, Tensor) and id(value) in self._index else value

        parents = tuple(self.index_of(tensor) for tensor in traced)
        layer = _describe(name, func, args, kwargs, first, result)
        stride = self.sides[0] // result.shape[2]
        _require(
            tuple(side // stride for side in self.sides) == tuple(result.shape[2:]), name, "changes sides unevenly"
        )
        layer = replace(layer, args=tree_map(refer, layer.args), kwargs=tree_map(refer, dict(layer.kwargs)))
        self.layers.append(replace(layer, parents=parents, stride=stride, channels=result.shape[1]))
        return len(self.layers) - 1


def _describe(name: str, func: Any, args: Any, kwargs: Any, first: Tensor, result: Tensor) -> Layer:
    """What a call reads of its input, with arguments that hold no sizes of the example."""
    same_sides = first.shape[2:] == result.shape[2:]
    if name == "conv3d":
        return _convolution(args, kwargs)
    if name == "interpolate":
        return _upsampling(kwargs, args, first, result)
    _require(same_sides, name, "changes the sides of the volume")
    if name == "batch_norm":
        _require(not (args[5] if len(args) > 5 else kwargs.get("training", False)), name, "is in training mode")
        return Layer(name, func, args, kwargs)
    if name in IN_PLACE:
        return Layer(name, IN_PLACE[name], args, kwargs)
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        _require(Ellipsis not in index and isinstance(index[1], slice), name, "is more than a choice of channels")
        return Layer(name, operator.getitem, (args[0], (slice(None), index[1])))
    if name in ACROSS_CHANNELS:
        dim = kwargs.get("dim", args[-1] if len(args) > 1 else 0)
        _require(dim == 1 or (name == "normalize" and "dim" not in kwargs), name, "does not run over the channels")
        return Layer(name, func, args, kwargs)
    _require(name in POINTWISE, name, "is not known to be local")
    return Layer(name, func, args, {key: value for key, value in kwargs.items() if key != "inplace"})


def _convolution(args: Any, kwargs: Any) -> Layer:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, args, strict=False)) | kwargs
    padding = given.get("padding", 0)
    _require(not isinstance(padding, str), "conv3d", "has its padding given as a word")
    stride, dilation = _triple(given.get("stride", 1)), _triple(given.get("dilation", 1))
    kernel = given["weight"].shape[2:]
    reads = Reads((kernel[0], kernel[1], kernel[2]), stride, _triple(padding), dilation)
    arguments = (given["input"], given["weight"], given.get("bias"), given.get("groups", 1))
    return Layer("conv3d", F.conv3d, arguments, reads=reads)


def _upsampling(kwargs: Any, args: Any, first: Tensor, result: Tensor) -> Layer:
    names = ("input", "size", "scale_factor", "mode", "align_corners")
    given = dict(zip(names, args, strict=False)) | kwargs
    factor = result.shape[2] // first.shape[2]
    _require(tuple(side * factor for side in first.shape[2:]) == tuple(result.shape[2:]), "interpolate", "is uneven")
    _require(not given.get("align_corners"), "interpolate", "aligns corners, so every voxel sees the volume's size")
    mode = given.get("mode", "nearest")
    _require(mode in {"nearest", "trilinear"}, "interpolate", f"has mode {mode}")
    return Layer("interpolate", F.interpolate, (given["input"],), {"mode": mode}, reads=Reads(up=factor))


def _prune(graph: Graph) -> Graph:
    """Keep what the outputs need, renumbered."""
    needed = set(graph.outputs.values())
    for index in range(len(graph.layers) - 1, -1, -1):
        if index in needed:
            needed.update(graph.layers[index].parents)
    number = {old: new for new, old in enumerate(sorted(needed | {0}))}

    def renumber(value: Any) -> Any:
        return Input(number[value.index]) if isinstance(value, Input) else value

    def kept() -> Iterator[Layer]:
        for old in number:
            layer = graph.layers[old]
            args, kwargs = tree_map(renumber, layer.args), tree_map(renumber, dict(layer.kwargs))
            yield replace(layer, args=args, kwargs=kwargs, parents=tuple(number[parent] for parent in layer.parents))

    return Graph(tuple(kept()), {name: number[index] for name, index in graph.outputs.items()})


def _triple(value: Any) -> Triple:
    return (value, value, value) if isinstance(value, int) else (value[0], value[1], value[2])


def _require(true: bool, name: str, reason: str) -> None:
    if not true:
        raise NotStreamable(f"operation {name!r} {reason}: the network cannot be computed in tiles exactly")
