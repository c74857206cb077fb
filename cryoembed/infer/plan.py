"""How a volume will be computed: number format, planes per step, tile; chosen by a trial on a small window of it."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryoembed.device import choose_device
from cryoembed.errors import InputError
from cryoembed.infer.device import Precision, agrees, choose_precision, default_memory, exact_float32
from cryoembed.infer.graph import Graph, Layer, record
from cryoembed.infer.streaming import Stream
from cryoembed.infer.tiling import Span, Tile, choose_core, mirrored, round_up, tiles
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.fold import fold_batchnorm

Volume = npt.NDArray[Any]  # (z, y, x)
Format = tuple[torch.dtype, torch.memory_format]
Maps = dict[str, npt.NDArray[np.float32]]  # (c, z, y, x) by output

SLAB_BYTES = {"cpu": 24 * 2**20, "cuda": 2**30}  # glibc hands larger blocks back at once: page faults cost 20 to 50 %
MOST_PLANES = {"cpu": 16, "cuda": 64}
FEWEST_PLANES = 2
OVERHEAD = 1.25  # allocators keep some of what was freed
TRIAL_SIDES = (32, 48, 48)
SAME = 1e-3  # float32 results of two kernels differ by rounding only, relative to the largest value
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Everything settled before the first plane: make it with `plan_volume`, hand it to `voxels.run_plan`."""

    graph: Graph
    shape: tuple[int, int, int]
    device: torch.device
    format: Format
    chunk: int
    core: tuple[int, int]  # (y, x) voxels of a tile; z is streamed and never cut
    bytes: int  # working memory, without input and outputs
    seconds: float  # from the speed of the trial: an upper guess, small windows run slower

    @property
    def tiles(self) -> list[Tile]:
        """Tiles of the volume: whole columns along z."""
        core = (self.shape[0], *self.core)
        return list(tiles(self.shape, core, halo=self.graph.halo, stride=self.graph.total_stride))

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``."""
        return "bf16" if self.format[0] == torch.bfloat16 else "fp32"

    def __str__(self) -> str:
        count = len(self.tiles)
        where = "in one piece" if count == 1 else f"in {count} tiles of {self.core[0]} x {self.core[1]} columns"
        size = " x ".join(map(str, self.shape))
        return (
            f"{size} voxels on {self.device} in {self.precision}, {where}: "
            f"about {self.seconds:.0f} s and {self.bytes / 2**30:.1f} GiB of working memory"
        )


def plan_volume(
    model: VoxelNetwork,
    volume: Volume,
    *,
    outputs: Sequence[str],
    device: str = "auto",
    precision: Precision = "auto",
    tile: int | tuple[int, int] | None = None,
    memory: float | None = None,
) -> Plan:
    """Try the network on a small window of the volume and settle how the whole of it will be computed.

    The window is computed in float32 as plainly as torch can, then streamed: bf16 is kept where it agrees to a cosine
    of 0.999, float32 in channels-last layout where it agrees to rounding, else the plain layout is taken.

    Parameters
    ----------
    model
        In any mode; it is copied, and its batch norms folded.
    volume
        (z, y, x), prepared as the model card says; a memory map is read window by window.
    outputs
        Names that ``model.predict`` accepts.
    device
        ``auto | cpu | cuda | cuda:i``.
    precision
        ``auto | fp32 | bf16``; auto takes bf16 where the hardware is faster at it.
    tile
        Core of a tile in voxels, (y, x); None takes the largest that fits the memory.
    memory
        Working memory in GiB; None takes a share of what is free.

    Raises
    ------
    InputError
        If the volume is not 3D, the model lacks an output, or device, precision, tile or memory make no sense.
    """
    shape = _checked_shape(volume, outputs)
    target, first_choice = choose_device(device), choose_precision(precision, choose_device(device))
    budget = _budget(memory, target)
    with exact_float32():
        plain = fold_batchnorm(model).to(target)
        reach = record(lambda x: plain.predict(x, outputs), _example(model, target))
        stride = reach.total_stride
        if min(shape[1:]) <= stride:  # oneDNN's bf16 convolutions are wrong at width 1 (pytorch 188426)
            first_choice = torch.float32
        area = round_up(shape[1], stride) * round_up(shape[2], stride)
        chunk = _planes_per_step(reach, area, first_choice, target.type)
        window = _trial_window(volume, stride).to(target)
        reference = _arrays(copy.deepcopy(model).to(target).eval().predict(window, outputs))
        graph, chosen, speed = _first_that_agrees(reach, window, reference, _formats(first_choice))
        bytes_per_column = _working_memory(graph, chosen[0], round_up(shape[0], stride), chunk)
        while tile is None and area * bytes_per_column > budget and chunk > FEWEST_PLANES:
            chunk //= 2  # cheaper than tiles with halos
            bytes_per_column = _working_memory(graph, chosen[0], round_up(shape[0], stride), chunk)
    core = _core(shape, graph, tile, budget / bytes_per_column)
    plan = Plan(graph, shape, target, chosen, chunk, core, bytes=0, seconds=0.0)
    voxels = [one.window_voxels for one in plan.tiles]
    largest = max(voxels) // round_up(shape[0], stride)
    needed = int(bytes_per_column * largest)
    if needed > budget:
        log.warning("working memory will be %.1f GiB: tiles that fit less would be mostly halo", needed / 2**30)
    return replace(plan, bytes=needed, seconds=sum(voxels) / speed)


def plane_reader(volume: Volume, window: Sequence[Span], stride: int, device: torch.device, chosen: Format) -> Any:
    """Return a function that gives planes [start, stop) of a window as (1, 1, planes, y, x) on the device.

    Only these planes are read from a memory map; positions beyond the far faces are mirrored.
    """
    at_z, at_y, at_x = (
        along[start:stop] for along, (start, stop) in zip(mirrored(volume.shape, stride), window, strict=True)
    )

    def read(start: int, stop: int) -> Tensor:
        rows = at_z[start:stop]
        block = np.asarray(volume[tuple(slice(at.min(), at.max() + 1) for at in (rows, at_y, at_x))])
        for axis, at in enumerate((rows, at_y, at_x)):
            if np.any(np.diff(at) != 1):
                block = block.take(at - at.min(), axis=axis)
        planes = torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32))[None, None]
        return planes.to(device, chosen[0]).contiguous(memory_format=chosen[1])

    return read


def _checked_shape(volume: Volume, outputs: Sequence[str]) -> tuple[int, int, int]:
    if volume.ndim != 3 or 0 in volume.shape:
        raise InputError(f"expected a 3D volume (z, y, x), got shape {volume.shape}")
    if not outputs:
        raise InputError("no outputs are asked for; name some, for example embedding")
    return (volume.shape[0], volume.shape[1], volume.shape[2])


def _example(model: VoxelNetwork, device: torch.device) -> Tensor:
    side = 2 * model.config.backbone.strides[-1]
    return torch.zeros(1, 1, side, side, side, device=device)


def _formats(first_choice: torch.dtype) -> Iterator[Format]:
    if first_choice == torch.bfloat16:
        yield torch.bfloat16, torch.channels_last_3d
    yield torch.float32, torch.channels_last_3d
    yield torch.float32, torch.contiguous_format


def _planes_per_step(graph: Graph, area: int, dtype: torch.dtype, kind: str) -> int:
    """As many planes as keep the largest slab small enough; a power of two."""
    widest = max(layer.channels / layer.stride**2 for layer in graph.layers)
    planes = int(SLAB_BYTES[kind] / (area * widest * dtype.itemsize))
    return min(max(1 << max(planes.bit_length() - 1, 0), FEWEST_PLANES), MOST_PLANES[kind])


def _trial_window(volume: Volume, stride: int) -> Tensor:
    """The middle of the volume."""
    spans = []
    for size, side in zip(volume.shape, TRIAL_SIDES, strict=True):
        end = round_up(size, stride)
        start = max(end - side, 0) // 2 // stride * stride
        spans.append((start, min(start + round_up(side, stride), end)))
    reader = plane_reader(volume, spans, stride, torch.device("cpu"), (torch.float32, torch.contiguous_format))
    window: Tensor = reader(0, spans[0][1] - spans[0][0])
    return window


def _first_that_agrees(
    graph: Graph, window: Tensor, reference: Maps, formats: Iterator[Format]
) -> tuple[Graph, Format, float]:
    """The first format whose result is that of the plain network, with its voxels per second."""
    for chosen in formats:
        candidate = graph.to(window.device, *chosen)
        read = _slicer(window.to(chosen[0]).contiguous(memory_format=chosen[1]))
        started = time.perf_counter()
        stream = Stream(candidate, read, depth=window.shape[2], chunk=graph.total_stride)
        slabs = [_arrays(slab) for _, _, slab in stream]
        result = {name: np.concatenate([slab[name] for slab in slabs], axis=1) for name in reference}
        seconds = time.perf_counter() - started
        if _same(result, reference, chosen):
            return candidate, chosen, window.numel() / seconds
        log.warning("self-check: %s in %s layout disagrees with plain float32 here; not used", *_words(chosen))
    raise RuntimeError("float32 inference disagrees with the network itself on this machine: please report it")


def _working_memory(graph: Graph, dtype: torch.dtype, depth: int, chunk: int) -> float:
    """Bytes per column of planes at the peak, from a rehearsal deep enough that every buffer fills."""
    stride = graph.total_stride
    deepest = min(depth, round_up(2 * graph.halo + 2 * chunk, stride))
    planes = torch.empty(1, 1, deepest, stride, stride, dtype=dtype)
    rehearsal = _Rehearsal(graph, _slicer(planes), depth=deepest, chunk=chunk)
    for _ in rehearsal:
        pass
    return OVERHEAD * rehearsal.peak_bytes / stride**2


class _Rehearsal(Stream):
    """The schedule on a few columns, without the arithmetic."""

    def _evaluate(self, layer: Layer, inputs: dict[int, Tensor], start: int, stop: int) -> Tensor:
        first = layer.parents[0]
        volume = inputs[first]
        sides = [side * self._graph.layers[first].stride // layer.stride for side in volume.shape[3:]]
        return volume.new_empty(1, layer.channels, stop - start, *sides)


def _slicer(window: Tensor) -> Callable[[int, int], Tensor]:
    return lambda start, stop: window[:, :, start:stop]


def _same(result: Maps, reference: Maps, chosen: Format) -> bool:
    """Whether every output is the same, each by itself: a vector across unlike outputs would mean nothing."""
    if chosen[0] == torch.bfloat16:
        return all(agrees(result[name], wanted) for name, wanted in reference.items())
    return all(
        bool(np.abs(result[name] - wanted).max() <= SAME * max(np.abs(wanted).max(), 1.0))
        for name, wanted in reference.items()
    )


def _arrays(maps: dict[str, Tensor]) -> Maps:
    """(c, z, y, x) float32 by output."""
    return {name: map_[0].float().cpu().numpy() for name, map_ in maps.items()}


def _core(shape: Sequence[int], graph: Graph, tile: int | tuple[int, int] | None, most: float) -> tuple[int, int]:
    stride = graph.total_stride
    if tile is None:
        y, x = choose_core(shape[1:], halo=graph.halo, stride=stride, most_voxels=most)
        return y, x
    y, x = (tile, tile) if isinstance(tile, int) else tile
    if min(y, x) < 1:
        raise InputError(f"tile {tile}: expected a positive number of voxels")
    return round_up(y, stride), round_up(x, stride)


def _budget(memory: float | None, device: torch.device) -> float:
    if memory is None:
        return default_memory(device)
    if not memory > 0:
        raise InputError(f"memory {memory}: expected a positive number of GiB")
    return memory * 2**30


def _words(chosen: Format) -> tuple[str, str]:
    return str(chosen[0]).removeprefix("torch."), str(chosen[1]).removeprefix("torch.")
