"""Local normalised cross-correlation of a volume with every rotation of a template: one inverse transform for each.

Per rotation the template's transform is pruned (its lines outside the small box are zero), and both transforms go slab
by slab through the cache: the last axis of the forward transform, the product and the first axis of the inverse in one
go, then the other two axes and the comparison with the best score so far. Large volumes are cut into blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.matching.template import Probe, Transfer, Volume, probe

Block = tuple[slice, slice, slice]

_SLAB_BYTES = 1 << 19  # of one slab of a spectrum: half a core's cache
_FLAT = 0.01  # of the volume's s.d.: where it varies less than this under the mask there is nothing to compare


@dataclass(frozen=True, eq=False)
class MatchMap:
    """Best score of each voxel over all rotations, and which rotation gave it.

    Attributes
    ----------
    score
        (z, y, x) Pearson's r under the mask centred there, in [-1, 1]; 0 where the volume is flat.
    best_rotation
        (z, y, x) int32 row of the rotations.
    """

    score: Volume
    best_rotation: npt.NDArray[np.int32]


def match_template(
    volume: npt.NDArray[Any],
    template: npt.ArrayLike,
    rotations: Rotation,
    *,
    mask_radius_vox: float,
    tilt_max_deg: float | None = None,
    ctf: Transfer | None = None,
    workers: int = 1,
    block_vox: int = 1 << 24,
) -> MatchMap:
    """Search a volume for a template in every given orientation.

    The score is the local correlation of Roseman (2003, Ultramicroscopy 94, 225, equation 5) with a spherical mask: it
    does not change with the volume's brightness or contrast. Beyond its borders the volume counts as its mean.

    Parameters
    ----------
    volume
        (z, y, x) of any real dtype, bright particles; memory maps are read block by block.
    template, mask_radius_vox, tilt_max_deg, ctf
        See `template.probe`; at the volume's voxel size.
    rotations
        Particle frame to tomogram frame, acting on xyz, as `rotations.grid` makes them.
    workers
        Threads of the transforms.
    block_vox
        Largest transform, in voxels; about 24 bytes are needed for each, besides the result.

    Raises
    ------
    InputError
        If the volume is not 3D, is constant, or holds numbers that are not finite; for templates see `probe`.
    """
    prepared = probe(template, mask_radius_vox=mask_radius_vox, tilt_max_deg=tilt_max_deg, ctf=ctf)
    if volume.ndim != 3 or 0 in volume.shape:
        raise InputError(f"expected a volume (z, y, x), got shape {volume.shape}")
    turns = Rotation.from_quat(rotations.as_quat().reshape(-1, 4))
    if not len(turns):
        raise InputError("no rotations to search; rotations.grid makes some")
    mean, spread = _moments(volume)
    score = np.empty(volume.shape, dtype=np.float32)
    best = np.empty(volume.shape, dtype=np.int32)
    for core in blocks(volume.shape, prepared.reach, block_vox):
        data = _cut(volume, core, prepared.reach, mean, spread)
        score[core], best[core] = _search(data, score[core].shape, turns, prepared, workers)
    return MatchMap(score, best)


def blocks(shape: tuple[int, ...], reach: int, block_vox: int) -> list[Block]:
    """Slices that tile a volume such that the transform of each, with its halo, has at most ``block_vox`` voxels.

    Blocks are not cut below the halo's own size, whatever ``block_vox`` says.
    """
    pieces = [1, 1, 1]
    while True:
        cores = [-(-size // count) for size, count in zip(shape, pieces, strict=True)]
        grid = [core + reach * (1 if count == 1 else 2) for core, count in zip(cores, pieces, strict=True)]
        axis = int(np.argmax(cores))
        if np.prod(grid, dtype=np.int64) <= block_vox or cores[axis] <= 2 * reach + 1:
            break
        pieces[axis] += 1
    starts = [range(0, size, core) for size, core in zip(shape, cores, strict=True)]
    return [
        (
            slice(z, min(z + cores[0], shape[0])),
            slice(y, min(y + cores[1], shape[1])),
            slice(x, min(x + cores[2], shape[2])),
        )
        for z, y, x in itertools.product(*starts)
    ]


def _moments(volume: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and s.d., slice by slice."""
    sums = [(np.sum(part), np.sum(part * part)) for part in (plane.astype(np.float64) for plane in volume)]
    mean, square = np.sum(sums, axis=0) / volume.size
    # about the mean in a second pass would be exact; a brightness 1000 times the s.d. still leaves ten digits here
    variance = square - mean**2
    if not np.isfinite(variance):
        raise InputError("the volume holds voxels that are not finite numbers; mend it first")
    if not variance > 1e-12 * square:
        raise InputError("the volume is constant: there is nothing to search")
    return float(mean), float(np.sqrt(variance))


def _cut(volume: npt.NDArray[Any], core: Block, reach: int, mean: float, spread: float) -> Volume:
    """A block on its transform's grid, mean 0 and s.d. 1: halo first, so that its core begins at ``reach``.

    Where an axis is not cut both halos are empty, and share the same zeros: transforms are periodic.
    """
    inside: list[slice] = []
    targets: list[slice] = []
    grid: list[int] = []
    for part, size in zip(core, volume.shape, strict=True):
        low, high = max(part.start - reach, 0), min(part.stop + reach, size)
        first = low - part.start + reach
        whole = part.start == 0 and part.stop == size
        needed = part.stop - part.start + reach * (1 if whole else 2)
        inside.append(slice(low, high))
        targets.append(slice(first, first + high - low))
        grid.append(int(fft.next_fast_len(max(needed, 2 * reach + 1), real=len(grid) == 2)))
    data = np.zeros(grid, dtype=np.float32)
    data[tuple(targets)] = (np.asarray(volume[tuple(inside)], dtype=np.float32) - np.float32(mean)) / spread
    return data


def _search(
    data: Volume, shape: tuple[int, ...], rotations: Rotation, prepared: Probe, workers: int
) -> tuple[Volume, npt.NDArray[np.int32]]:
    """Best score and rotation of the ``shape`` voxels from the grid's corner on."""
    spectrum = np.asarray(fft.rfftn(data, workers=workers))
    inverse_spread = _inverse_spread(data, spectrum, prepared.mask, shape, workers)
    product = np.empty((shape[0], *spectrum.shape[1:]), dtype=np.complex64)
    best = np.full(shape, -np.inf, dtype=np.float32)
    row = np.zeros(shape, dtype=np.int32)
    for number, rotation in enumerate(rotations):
        _multiply(product, spectrum, prepared.kernel(rotation), data.shape, workers)
        for part in _slabs(shape[0], product[0].nbytes):
            lines = fft.ifft(product[part], axis=1, overwrite_x=True, workers=workers)[:, : shape[1]]
            found = fft.irfft(lines, data.shape[2], axis=2, workers=workers)[:, :, : shape[2]]
            better = found > best[part]
            np.copyto(best[part], found, where=better)
            np.copyto(row[part], number, where=better)
    best *= inverse_spread
    return best, row


def _multiply(
    product: npt.NDArray[np.complex64],
    spectrum: npt.NDArray[np.complex64],
    kernel: Volume,
    grid: tuple[int, ...],
    workers: int,
) -> None:
    """Correlate along z, and leave y and x transformed: only the lines that meet the kernel are transformed before.

    The conjugate of a real kernel's transform is its transform with the other sign, which costs nothing.
    """
    lines = np.conj(fft.rfft(kernel, grid[2], axis=2))
    planes = fft.ifft(lines, grid[1], axis=1, norm="forward", workers=workers)
    for part in _slabs(grid[1], spectrum[:, 0].nbytes):
        slab = fft.ifft(planes[:, part], grid[0], axis=0, norm="forward", workers=workers)
        slab *= spectrum[:, part]
        product[:, part] = fft.ifft(slab, axis=0, overwrite_x=True, workers=workers)[: len(product)]


def _inverse_spread(
    data: Volume,
    spectrum: npt.NDArray[np.complex64],
    mask: npt.NDArray[np.bool_],
    shape: tuple[int, ...],
    workers: int,
) -> Volume:
    """One over the s.d. of the volume under the mask centred at each voxel; 0 where it is flat."""
    core = tuple(slice(0, size) for size in shape)
    ball = np.conj(fft.rfftn(mask.astype(np.float32), data.shape, workers=workers)) / np.float32(mask.sum())
    mean = fft.irfftn(spectrum * ball, data.shape, workers=workers)[core]
    square = fft.irfftn(fft.rfftn(data * data, workers=workers) * ball, data.shape, workers=workers)[core]
    variance = square - mean * mean
    flat = variance < _FLAT**2
    variance[flat] = 1
    return np.asarray(np.where(flat, 0, 1 / np.sqrt(variance)), dtype=np.float32)


def _slabs(size: int, bytes_each: int) -> list[slice]:
    step = max(1, _SLAB_BYTES // bytes_each)
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
