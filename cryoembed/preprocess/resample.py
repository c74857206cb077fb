"""Resampling to another voxel size: band-limited, at any ratio, voxel 0 staying at voxel 0, in slabs of bounded memory.

A Fourier crop (or pad) with a soft edge is the same as a convolution with the edge's kernel, sampled on the new grid.
Evaluating that kernel directly, one axis at a time as small matrix products, keeps what the crop gives (no aliasing)
and drops what it costs: no padded sizes that fit only some ratios, no wrap-around, no whole-volume transforms.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]  # (z, y, x)

SAME_VOXEL_SIZE_TOLERANCE = 0.02  # below this difference a network cannot tell; the native grid is kept
_ROLL_OFF = 0.2  # width of the cosine edge, as a share of the pass band: wide enough not to ring visibly
_SUPPORT = 12.0  # the kernel reaches this many of its periods, tapered to zero: pass band true to 1e-3
_BLOCK = 128  # output samples per matrix product


class Slabs(Protocol):
    """Anything that gives z-slabs as arrays: an array, a memory map, or a view that mends voxels on the way."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size in voxels, (z, y, x)."""

    def __getitem__(self, part: slice, /) -> Any:
        """Return the slices ``part`` of z."""


def same_voxel_size(first: float, second: float) -> bool:
    """Whether two voxel sizes (A) are alike enough (2 %) that a volume is used as it is."""
    return abs(first / second - 1) <= SAME_VOXEL_SIZE_TOLERANCE


def resampled_shape(
    shape_zyx: tuple[int, int, int], from_voxel_size: float, to_voxel_size: float
) -> tuple[int, int, int]:
    """Size after `resample`: each axis keeps its length in A, rounded to whole voxels (at least one)."""
    z, y, x = (max(1, int(np.floor(size * from_voxel_size / to_voxel_size + 0.5))) for size in shape_zyx)
    return (z, y, x)


def resample(volume: npt.NDArray[Any], from_voxel_size: float, to_voxel_size: float) -> Volume:
    """Resample a volume to another voxel size; voxel 0 stays at voxel 0, so the origin in A is kept.

    Parameters
    ----------
    volume
        (z, y, x) array of any real dtype, memory maps included; read slab by slab.
    from_voxel_size, to_voxel_size
        A per voxel. Unlike `prepare`, this resamples whatever the ratio is.

    Returns
    -------
    (z, y, x) float32 of `resampled_shape`. Structure up to 60 % of the coarser grid's Nyquist frequency is kept,
    nothing beyond 106 % survives; borders are mirrored, so a constant stays constant up to the edge.
    """
    out = np.empty(resampled_shape(_shape(volume), from_voxel_size, to_voxel_size), dtype=np.float32)
    resample_into(out, volume, to_voxel_size / from_voxel_size)
    return out


def resample_into(out: Volume, volume: Slabs, step_vox: float, *, slab: int = 16) -> None:
    """Fill ``out`` (may be a memory map) with ``volume`` sampled every ``step_vox`` voxels, some z-slices at a time."""
    for start in range(0, out.shape[0], slab):
        stop = min(start + slab, out.shape[0])
        first, weights = _weights(volume.shape[0], start, stop, step_vox)
        block = np.asarray(volume[first : first + weights.shape[1]], dtype=np.float32)
        planes = np.tensordot(weights, block, axes=(1, 0))
        out[start:stop] = _resample_axis(_resample_axis(planes, 1, out.shape[1], step_vox), 2, out.shape[2], step_vox)


def _resample_axis(block: Volume, axis: int, size: int, step_vox: float) -> Volume:
    moved = np.moveaxis(block, axis, -1)
    out = np.empty((*moved.shape[:-1], size), dtype=np.float32)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        first, weights = _weights(moved.shape[-1], start, stop, step_vox)
        out[..., start:stop] = moved[..., first : first + weights.shape[1]] @ weights.T
    return np.ascontiguousarray(np.moveaxis(out, -1, axis))


def _weights(size_in: int, start: int, stop: int, step_vox: float) -> tuple[int, Volume]:
    """First input sample and the (outputs, inputs) matrix that gives output samples ``start..stop``."""
    period = max(
        1.0, step_vox * (1 + _ROLL_OFF)
    )  # shrinking: the soft edge ends at the new Nyquist; growing: sits on the old
    reach = int(np.ceil(_SUPPORT * period))
    positions = np.arange(start, stop) * step_vox
    taps = np.arange(int(np.floor(positions[0])) - reach, int(np.ceil(positions[-1])) + reach + 1)
    kernel = _kernel((positions[:, None] - taps[None, :]) / period)
    kernel /= kernel.sum(axis=1, keepdims=True)
    inside = mirrored(taps, size_in)
    first, last = int(inside.min()), int(inside.max())
    folded = np.zeros((len(positions), last - first + 1))
    for column, tap in enumerate(inside - first):
        folded[:, tap] += kernel[:, column]
    return first, folded.astype(np.float32)


def _kernel(t: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Impulse response of a low-pass with a raised-cosine edge, in units of its period."""
    edge = 1 - (2 * _ROLL_OFF * t) ** 2
    pole = np.abs(edge) < 1e-9
    value = np.sinc(t) * np.cos(np.pi * _ROLL_OFF * t) / np.where(pole, 1.0, edge)
    value[pole] = np.pi / 4 * np.sinc(1 / (2 * _ROLL_OFF))
    taper = np.cos(np.pi / 2 * np.clip(t / _SUPPORT, -1, 1)) ** 2
    return np.asarray(value * taper)


def mirrored(taps: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Indices within ``size`` of voxels that may lie beyond: d c b a | a b c d | d c b a."""
    if size == 1:
        return np.zeros_like(taps)
    folded = np.mod(taps, 2 * size)  # d c b a | a b c d | d c b a: the border voxel keeps its full weight
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def _shape(volume: npt.NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = volume.shape
    return (z, y, x)
