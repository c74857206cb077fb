"""Dense maps of a whole volume: what one pass over it would give, with memory bounded by the tile, array in and out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryoembed.errors import InputError
from cryoembed.infer.device import Precision, exact_float32
from cryoembed.infer.plan import Plan, Volume, plan_volume, plane_reader
from cryoembed.infer.streaming import Stream
from cryoembed.infer.tiling import Tile
from cryoembed.models.dense_simsiam import VoxelNetwork

Maps = dict[str, npt.NDArray[Any]]
Progress = Callable[[float], None]  # takes the share of the work done since the last call; they add up to 1
log = logging.getLogger(__name__)


def predict_volume(
    model: VoxelNetwork,
    volume_zyx: Volume,
    *,
    outputs: Sequence[str] = ("denoise", "distance", "boundary", "foreground"),
    device: str = "auto",
    precision: Precision = "auto",
    tile: int | tuple[int, int] | None = None,
    memory: float | None = None,
    out: Mapping[str, npt.NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> Maps:
    """Compute dense maps of a volume of any size.

    Every layer is computed once, slab by slab along z (`infer.streaming`); where memory asks for it the volume is cut
    into columns with a halo of the exact receptive field. Nothing is blended: in float32 the result is that of a single
    pass to rounding, whatever the tile.

    Parameters
    ----------
    model
        A voxel network; it is not changed.
    volume_zyx
        (z, y, x), prepared as the model card says; array or memory map, read once.
    outputs
        Any of ``denoise distance boundary foreground semantic semantic_distance lamella embedding`` that the model has.
    device, precision, tile, memory
        See `infer.plan.plan_volume`.
    out
        Arrays or writable memory maps to fill, by output: (z, y, x), embedding and semantic (c, z, y, x); any float
        type. Outputs without one are returned as new float32 arrays.
    progress
        Called after every slab with the share of the work it was.

    Returns
    -------
    The maps by name; those given in ``out`` are the same objects.

    Raises
    ------
    InputError
        If the model lacks an output, an array in ``out`` has the wrong shape, or a setting makes no sense.
    """
    asked = {"outputs": outputs, "device": device, "precision": precision, "tile": tile, "memory": memory}
    plan = plan_volume(model, volume_zyx, **asked)  # type: ignore[arg-type]
    log.info("%s", plan)
    return run_plan(plan, volume_zyx, out=out, progress=progress)


def run_plan(
    plan: Plan,
    volume_zyx: Volume,
    *,
    out: Mapping[str, npt.NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> Maps:
    """Carry out a plan made for a volume of this shape; see `predict_volume`."""
    if tuple(volume_zyx.shape) != plan.shape:
        raise InputError(f"the plan is for a volume of shape {plan.shape}, got {volume_zyx.shape}; plan again")
    maps = _targets(plan, out or {})
    total = sum(tile.window_voxels for tile in plan.tiles)
    with exact_float32():
        for tile in plan.tiles:
            read = plane_reader(volume_zyx, tile.window, plan.graph.total_stride, plan.device, plan.format)
            depth = tile.window[0][1]
            for start, stop, slabs in Stream(plan.graph, read, depth=depth, chunk=plan.chunk):
                for name, slab in slabs.items():
                    _write(maps[name], slab, tile, start)
                if progress is not None:
                    progress(tile.window_voxels * (stop - start) / depth / total)
    return maps


def _targets(plan: Plan, out: Mapping[str, npt.NDArray[Any]]) -> Maps:
    unknown = set(out) - set(plan.graph.outputs)
    if unknown:
        raise InputError(f"out holds {', '.join(sorted(unknown))}, which is not among the outputs asked for")
    maps: Maps = {}
    for name, index in plan.graph.outputs.items():
        channels = plan.graph.layers[index].channels
        shape = plan.shape if channels == 1 else (channels, *plan.shape)
        given = out.get(name)
        if given is not None and tuple(given.shape) != shape:
            raise InputError(f"out[{name!r}] has shape {given.shape}, expected {shape}")
        maps[name] = np.empty(shape, dtype=np.float32) if given is None else given
    return maps


def _write(target: npt.NDArray[Any], slab: Tensor, tile: Tile, start: int) -> None:
    """Put the core of a slab (1, c, planes, y, x), whose first plane is ``start``, where it belongs."""
    _, (y, y_end), (x, x_end) = tile.core
    (_, _), (y_window, _), (x_window, _) = tile.window
    planes = min(slab.shape[2], tile.core[0][1] - start)
    if planes <= 0:  # the mirrored rim beyond the last plane
        return
    part = slab[0, :, :planes, y - y_window : y_end - y_window, x - x_window : x_end - x_window]
    place = target[..., start : start + planes, y:y_end, x:x_end]
    torch.from_numpy(place).copy_(part if target.ndim == 4 else part[0])
