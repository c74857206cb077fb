"""From any tomogram to what a network reads: bright particles, the model's voxel size, clipped, scaled, float32.

Every step is recorded in an `InputRecord`, so that two volumes prepared differently can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.scratch import scratch_array
from cryoembed.preprocess.config import Contrast, InputConfig
from cryoembed.preprocess.intensity import clip_limits, decide_contrast, find_padding, strided_sample
from cryoembed.preprocess.resample import Slabs, resample_into, resampled_shape, same_voxel_size
from cryoembed.preprocess.spectrum import flatten_into, measured_power
from cryoembed.tomogram import Tomogram

Volume = npt.NDArray[np.float32]  # (z, y, x)

MIN_AXIS_VOX = 8
_SLAB_VOXELS = 8_000_000


class InputRecord(Config):
    """What was done to one tomogram before a network saw it; plain JSON."""

    schema_version: Literal[1] = 1
    tomogram: str
    contrast: Literal["dark", "bright"]
    contrast_reason: str
    contrast_confident: bool
    native_voxel_size: float
    voxel_size: float  # of the prepared volume: the model's, or the native one where they differ by less than 2 %
    resampled: bool
    native_shape: tuple[int, int, int]
    shape: tuple[int, int, int]
    scale: Literal["zscore", "unit"]
    clip_low: float  # grey values with particles bright
    clip_high: float
    mean: float  # after clipping; what became 0 (zscore)
    standard_deviation: float
    padding: float | None = None  # the native grey value that only filled the box up; set to the mean
    power: tuple[float, ...] | None = None  # by shell of spatial frequency, before they were flattened


@dataclass(frozen=True, eq=False)
class Prepared:
    """A tomogram as a network reads it, in the same parent frame, and the record of how it became so."""

    tomogram: Tomogram
    record: InputRecord


def prepare(
    tomogram: Tomogram, config: InputConfig, *, contrast: Contrast = "auto", scratch: Path | None = None
) -> Prepared:
    """Bring a tomogram to a network's contrast, voxel size, clipping, scale (design, section 4) and spectrum.

    Parameters
    ----------
    tomogram
        Any real dtype, memory-mapped or not; read slab by slab, never changed.
    config
        The network's expectations, from its model card.
    contrast
        Of the *input*: ``"auto"`` measures it (`decide_contrast`).
    scratch
        A folder: the result is a memory-mapped ``.npy`` in it (the caller removes the folder). None keeps it in memory.

    Returns
    -------
    Prepared
        ``tomogram``: float32 at ``config.voxel_size`` with particles bright and the origin kept, so that its positions
        in A are those of the input. If the voxel sizes differ by no more than 2 % the native grid and size are kept.

    Raises
    ------
    InputError
        For NaN or infinity, a constant volume, complex numbers, or an axis shorter than 8 voxels.
    """
    _refuse_unusable(tomogram)
    resampled = not same_voxel_size(tomogram.voxel_size, config.voxel_size)
    voxel_size = config.voxel_size if resampled else tomogram.voxel_size
    shape = resampled_shape(tomogram.shape, tomogram.voxel_size, voxel_size)
    _refuse_thin(tomogram.name, shape, voxel_size)
    decision = decide_contrast(tomogram, contrast)
    padding = find_padding(strided_sample(tomogram.data, config.sample_stride))
    out = _empty(shape, scratch, f"{tomogram.name}_prepared")
    source: Slabs = _Unpadded(tomogram.data, padding, config.sample_stride) if padding is not None else tomogram.data
    if resampled:
        resample_into(out, source, voxel_size / tomogram.voxel_size)
    else:
        for part in _slabs(shape):
            out[part] = source[part]
    limits, mean, deviation = _normalise(out, decision.sign, config, tomogram.name)
    power = None
    if config.flatten:
        out, power = _flattened(out, scratch, tomogram.name)
    record = InputRecord(
        tomogram=tomogram.name,
        contrast=decision.contrast,
        contrast_reason=decision.reason,
        contrast_confident=decision.confident,
        native_voxel_size=tomogram.voxel_size,
        voxel_size=voxel_size,
        resampled=resampled,
        native_shape=tomogram.shape,
        shape=shape,
        scale=config.scale,
        clip_low=limits[0],
        clip_high=limits[1],
        mean=mean,
        standard_deviation=deviation,
        padding=padding,
        power=None if power is None else tuple(power.tolist()),
    )
    return Prepared(Tomogram(out, voxel_size, tomogram.name, tomogram.origin), record)


def _empty(shape: tuple[int, int, int], scratch: Path | None, name: str) -> Volume:
    return np.empty(shape, dtype=np.float32) if scratch is None else scratch_array(scratch, name, shape, np.float32)


def _flattened(scaled: Volume, scratch: Path | None, name: str) -> tuple[Volume, npt.NDArray[np.float64]]:
    """A flattened copy and the power that was made flat; the file of a memory-mapped original is removed."""
    try:
        power = measured_power(scaled)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    out = _empty((scaled.shape[0], scaled.shape[1], scaled.shape[2]), scratch, f"{name}_flattened")
    flatten_into(out, scaled, power)
    if isinstance(scaled, np.memmap) and scaled.filename is not None:
        with suppress(OSError):  # where open files cannot be removed the folder's owner does it later
            Path(scaled.filename).unlink()
    return out, power


def _refuse_unusable(tomogram: Tomogram) -> None:
    data, name = tomogram.data, tomogram.name
    if data.dtype.kind not in "biuf":
        raise InputError(f"{name}: voxels of type {data.dtype} are no grey values; expected integers or floats")
    _refuse_thin(name, tomogram.shape, tomogram.voxel_size)
    low, high = np.inf, -np.inf
    for part in _slabs(tomogram.shape):
        slab = data[part]
        slab_low, slab_high = float(slab.min()), float(slab.max())  # NaN and infinity show in one of them
        if not (np.isfinite(slab_low) and np.isfinite(slab_high)):
            bad = int(np.count_nonzero(~np.isfinite(slab)))
            raise InputError(
                f"{name}: {bad} voxels from slice z={part.start} on are NaN or infinite; "
                "mend the reconstruction or crop them away"
            )
        low, high = min(low, slab_low), max(high, slab_high)
    if low == high:
        raise InputError(
            f"{name}: every voxel is {low:g}; an empty volume holds no particles, check the reconstruction"
        )


def _refuse_thin(name: str, shape: tuple[int, int, int], voxel_size: float) -> None:
    if min(shape) < MIN_AXIS_VOX:
        raise InputError(
            f"{name}: {shape[0]} x {shape[1]} x {shape[2]} voxels (z, y, x) of {voxel_size:g} A, an axis is "
            f"shorter than {MIN_AXIS_VOX}; is it a tomogram, and is its voxel size right?"
        )


def _slabs(shape: tuple[int, int, int]) -> Iterator[slice]:
    thickness = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    return (slice(start, min(start + thickness, shape[0])) for start in range(0, shape[0], thickness))


class _Unpadded:
    """Slabs of a padded volume with the padding set to the content's median, so that its edge is no boundary."""

    def __init__(self, data: npt.NDArray[Any], padding: float, stride: int) -> None:
        sample = strided_sample(data, stride)
        self.data, self.padding, self.shape = data, padding, data.shape
        self.median = float(np.median(sample[sample != padding]))

    def __getitem__(self, part: slice) -> Volume:
        slab = np.asarray(self.data[part], dtype=np.float32)
        return np.where(slab == np.float32(self.padding), np.float32(self.median), slab)


def _normalise(out: Volume, sign: int, config: InputConfig, name: str) -> tuple[tuple[float, float], float, float]:
    """Flip, clip and scale in place; returns the clip limits, mean and s.d. after clipping."""
    sample = sign * strided_sample(out, config.sample_stride)
    low, high = clip_limits(sample, config.clip_percentiles)
    if not high > low:
        raise InputError(
            f"{name}: percentiles {config.clip_percentiles} of the grey values are both {low:g}; "
            "nearly all voxels are alike"
        )
    total = squares = 0.0
    pivot = float(sample.mean())  # sums about a value near the mean keep their digits
    shape = (out.shape[0], out.shape[1], out.shape[2])
    for part in _slabs(shape):
        slab = np.clip(sign * out[part], low, high)
        out[part] = slab
        centred = slab - np.float32(pivot)
        total += float(centred.sum(dtype=np.float64))
        squares += float(np.square(centred).sum(dtype=np.float64))
    shift = total / out.size
    mean, deviation = pivot + shift, float(np.sqrt(max(squares / out.size - shift**2, 0.0)))
    offset, factor = (mean, deviation) if config.scale == "zscore" else (low, high - low)
    for part in _slabs(shape):
        out[part] -= np.float32(offset)
        out[part] /= np.float32(factor)
    return (low, high), mean, deviation
