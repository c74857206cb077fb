"""Flattening: shells of spatial frequency made about equally strong, so that a network meets one spectrum everywhere.

Which frequencies a tomogram's noise is at differs with microscope, dose, reconstruction and binning, and hardly tells
anything about particles. The mean power by shell is measured once per tomogram; a radial filter of short reach then
divides it out, tile by tile. Trainings know the expected power of what they draw and apply the same filter.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.preprocess.resample import mirrored

Shape = tuple[int, int, int]
Volume = npt.NDArray[np.float32]  # (z, y, x)
Grid = npt.NDArray[np.float32]  # (z, y, x // 2 + 1), frequencies of an rfft
Shells = npt.NDArray[np.float64]  # (..., SHELLS)

SHELLS = 24  # from 0 to the corner of the cube: as wide as a frequency of a box of 27 voxels
LIMIT = 5.0  # flattened grey values are cut there, in s.d.
HIGHEST = float(np.sqrt(0.75))  # cycles/voxel in the corner of the cube
_FLOOR = 0.02  # of the strongest shell: what is weaker than that is not drawn out of the noise of the computation
_FALL_OFF = 0.25  # cycles/voxel, s.d. of the Gaussian over the flat spectrum: particles have little beyond
_BLOCK = 64  # voxels per axis that a power spectrum is measured in
_BLOCKS_PER_AXIS = 4
_GRID = 32  # the filter's own: finer than a shell, and what limits its reach
_REACH = _GRID // 2 - 1
_TILE = 128


def power_by_shell(power: Grid, shape: Shape) -> Shells:
    """(..., SHELLS) means over shells of the power on (..., z, y, x // 2 + 1) frequencies of volumes of ``shape``.

    Shells that a small grid has no frequency in are interpolated.
    """
    shell, weight = shell_of(shape).ravel(), hermitian_weight(shape).ravel()
    counts = np.bincount(shell, weight, minlength=SHELLS)
    filled = np.flatnonzero(counts)
    sums = [np.bincount(shell, row * weight, minlength=SHELLS)[filled] for row in power.reshape(-1, shell.size)]
    means = [np.interp(np.arange(SHELLS), filled, row / counts[filled]) for row in sums]
    return np.reshape(means, (*power.shape[:-3], SHELLS))


def variance(power: Shells, shape: Shape) -> npt.NDArray[np.float64]:
    """(...) variance of volumes of ``shape`` with (..., SHELLS) power."""
    counts = np.bincount(shell_of(shape).ravel(), hermitian_weight(shape).ravel(), minlength=SHELLS)
    return np.asarray(power @ counts / counts.sum())


def measured_power(volume: Volume) -> Shells:
    """(SHELLS,) mean power of windowed blocks spread evenly over a prepared volume.

    Where the blocks lie decides its shape only; its scale is that of s.d. 1.

    Parameters
    ----------
    volume
        (z, y, x) of mean 0 and s.d. 1; may be a memory map, of which only the blocks are read.

    Raises
    ------
    InputError
        If the blocks are empty.
    """
    z, y, x = (min(_BLOCK, size) for size in volume.shape)
    window = np.hanning(z + 2)[1:-1, None, None] * np.hanning(y + 2)[1:-1, None] * np.hanning(x + 2)[1:-1]
    window = (window / np.sqrt(np.square(window).sum())).astype(np.float32)
    starts = [_starts(size, side) for size, side in zip(volume.shape, (z, y, x), strict=True)]
    total = np.zeros(SHELLS)
    for at_z, at_y, at_x in itertools.product(*starts):
        block = np.asarray(volume[at_z : at_z + z, at_y : at_y + y, at_x : at_x + x], dtype=np.float32)
        total += power_by_shell(np.square(np.abs(fft.rfftn(block * window))), (z, y, x))
    if not total.max() > 0:
        raise InputError("nearly all voxels are alike, there is no spectrum to flatten")
    return np.asarray(total / variance(total, (z, y, x)))


def flattening(power: Shells, shape: Shape) -> Grid:
    """(..., z, y, x // 2 + 1) amplitudes that give volumes of ``shape`` with (..., SHELLS) power a flat one, s.d. 1.

    Flat but for a Gaussian fall-off towards high frequencies, and for shells of hardly any power. What varies more slowly
    than the lowest shell, the mean included, is treated as that shell: thickness and drifts stay, a little weaker.
    """
    power = np.concatenate([power[..., 1:2], power[..., 1:]], axis=-1)
    centres = np.linspace(0, HIGHEST, SHELLS)
    floor = _FLOOR * power.max(axis=-1, keepdims=True)
    amplitude = np.exp(-0.5 * (centres / _FALL_OFF) ** 2) / np.sqrt(power + floor)
    amplitude /= np.sqrt(variance(np.square(amplitude) * power, shape))[..., None]
    place = frequency(shape) / np.float32(HIGHEST) * (SHELLS - 1)
    below = np.minimum(place.astype(np.int64), SHELLS - 2)
    share = place - below.astype(np.float32)
    amplitude = amplitude.astype(np.float32)
    return np.asarray(amplitude[..., below] * (1 - share) + amplitude[..., below + 1] * share)


def flatten_into(out: Volume, volume: Volume, power: Shells) -> None:
    """Fill ``out`` with ``volume`` flattened and cut at `LIMIT`, tile by tile; both may be memory maps.

    Beyond a border the volume is taken for mirrored. ``power`` is what `measured_power` gives.
    """
    kernel = np.roll(fft.irfftn(flattening(power, (_GRID,) * 3), s=(_GRID,) * 3), (_REACH,) * 3, axis=(0, 1, 2))
    kernel = kernel[:-1, :-1, :-1]  # the last plane would be the only one at its distance
    tiles = [[(start, min(start + _TILE, size)) for start in range(0, size, _TILE)] for size in volume.shape]
    transfers: dict[tuple[int, ...], npt.NDArray[np.complex64]] = {}
    for tile in itertools.product(*tiles):
        around = [mirrored(np.arange(start - _REACH, stop + _REACH), size)
                  for (start, stop), size in zip(tile, volume.shape, strict=True)]  # fmt: skip
        block = np.asarray(volume[np.ix_(*around)], dtype=np.float32)
        grid = tuple(int(fft.next_fast_len(size, real=True)) for size in block.shape)
        if grid not in transfers:
            transfers[grid] = fft.rfftn(kernel, s=grid)
        flat = fft.irfftn(fft.rfftn(block, s=grid) * transfers[grid], s=grid)
        inner = tuple(slice(2 * _REACH, size) for size in block.shape)
        out[tuple(slice(*span) for span in tile)] = np.clip(flat[inner], -LIMIT, LIMIT)


@lru_cache(maxsize=16)
def frequency(shape: Shape) -> Grid:
    """Spatial frequency of each rfft coefficient, cycles/voxel."""
    z, y, x = (along.astype(np.float32) ** 2 for along in (np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]),
                                                             np.fft.rfftfreq(shape[2])))  # fmt: skip
    return np.asarray(np.sqrt(z[:, None, None] + y[:, None] + x), dtype=np.float32)


@lru_cache(maxsize=16)
def hermitian_weight(shape: Shape) -> Grid:
    """How often each rfft coefficient counts in the full spectrum: 1 in the planes x = 0 and Nyquist, else 2."""
    weight = np.full((shape[0], shape[1], shape[2] // 2 + 1), 2, dtype=np.float32)
    weight[..., 0] = 1
    if shape[2] % 2 == 0:
        weight[..., -1] = 1
    return weight


@lru_cache(maxsize=16)
def shell_of(shape: Shape, count: int = SHELLS) -> npt.NDArray[np.int64]:
    """(z, y, x // 2 + 1) number of the shell, of ``count`` up to the corner of the cube, of each rfft coefficient."""
    return np.round(frequency(shape) / np.float64(HIGHEST) * (count - 1)).astype(np.int64)


def _starts(size: int, side: int) -> list[int]:
    return [round(start) for start in np.linspace(0, size - side, min(_BLOCKS_PER_AXIS, -(-size // side)))]
