"""Grey values: are particles dark or bright, where to clip, and which value is only padding around the specimen."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cryoembed.errors import InputError
from cryoembed.preprocess.config import Contrast
from cryoembed.tomogram import Tomogram

log = logging.getLogger(__name__)

PARTICLE_SCALES = (80.0, 120.0, 180.0, 250.0)  # A, diameters of 100 kDa to 4 MDa particles, finest first
_SCALE_RATIO = 1.6  # a difference of Gaussians of this ratio is closest to the Laplacian (Marr & Hildreth 1980)
_MIN_SKEWNESS = 0.05  # reconstruction artefacts alone reach a few hundredths
_MIN_STANDARD_ERRORS = 6.0  # of white noise: the noise of a reconstruction is correlated further
_CORRELATION_VOLUME = (
    3.79  # sum of the cubed autocorrelation of this band pass, in sigma^3: noise's share of the skewness
)
_BLOCK_ANGSTROM = 1000.0
_MAX_VOXELS = 6_000_000  # examined in all


@dataclass(frozen=True)
class ContrastDecision:
    """The sign that makes particles bright, and why.

    Parameters
    ----------
    sign
        ``-1`` for dark particles (raw cryo-ET), ``+1`` for bright ones: multiply the volume with it.
    contrast
        What was decided for the input: ``"dark"`` or ``"bright"``.
    reason
        One sentence for the log and the provenance.
    confident
        False if the volume did not say clearly, or contradicts what the user said.
    skewness
        Of the band-passed volume at the deciding scale; None when it was not measured.
    """

    sign: Literal[1, -1]
    contrast: Literal["dark", "bright"]
    reason: str
    confident: bool = True
    skewness: float | None = None


def decide_contrast(tomogram: Tomogram, contrast: Contrast = "auto") -> ContrastDecision:
    """Decide whether particles are dark or bright in a tomogram.

    Dense matter is rare and compact, so after a band pass at particle scale its side of the histogram has the longer
    tail: the sign of the skewness tells the contrast. Of the scales from 80 to 250 A the one decides whose skewness
    stands out most from that of noise; the coarser ones see fewer independent places and, inside shells and tubes, the
    opposite sign. Grey values are clipped first, so that a few gold beads do not outweigh thousands of particles.

    Parameters
    ----------
    tomogram
        Raw or simulated; a few blocks spread over it are read.
    contrast
        ``"auto"`` decides; ``"dark"`` or ``"bright"`` is obeyed; ``reason`` says so if the volume
        looks otherwise.

    Raises
    ------
    InputError
        If the volume holds NaN or infinity where it was examined, or ``contrast`` is none of the three words.
    """
    if contrast not in ("auto", "dark", "bright"):
        raise InputError(f"contrast {contrast!r}: expected auto, dark or bright")
    skewness, scale, clear = _deciding_skewness(tomogram)
    seen: Literal["dark", "bright"] = "bright" if skewness > 0 else "dark"
    measured = f"skewness {skewness:+.2f} of the volume band-passed at {scale:.0f} A"
    if contrast != "auto":
        contradicts = clear and seen != contrast
        reason = f"{contrast} as given" + (f", although the particles look {seen} ({measured})" if contradicts else "")
        if contradicts:
            log.warning("%s: contrast %s", tomogram.name, reason)
        return _decision(contrast, reason, confident=not contradicts, skewness=skewness)
    if clear:
        return _decision(seen, f"particles look {seen}: {measured}", confident=True, skewness=skewness)
    reason = f"the volume does not say clearly ({measured}); assumed dark, as raw cryo-ET is"
    log.warning("%s: %s", tomogram.name, reason)
    return _decision("dark", reason, confident=False, skewness=skewness)


def strided_sample(volume: npt.NDArray[Any], stride: int, *, at_least: int = 100_000) -> npt.NDArray[np.float32]:
    """Every ``stride``-th voxel per axis, (z, y, x); a finer stride where that would be fewer than ``at_least``."""
    while stride > 1 and volume.size / stride**3 < at_least:
        stride -= 1
    return np.asarray(volume[::stride, ::stride, ::stride], dtype=np.float32)


def clip_limits(sample: npt.NDArray[Any], percentiles: tuple[float, float] = (0.1, 99.9)) -> tuple[float, float]:
    """Grey values at two percentiles of a sample (1/64 of the voxels is within 0.3 % of a s.d. of the whole)."""
    low, high = np.percentile(np.asarray(sample, dtype=np.float32), percentiles)
    return float(low), float(high)


def find_padding(sample: npt.NDArray[Any]) -> float | None:
    """The grey value with which a volume was padded to its box, or None.

    Padding is one value that fills whole outer slices and next to nothing of the inside; a noise-free simulation,
    empty inside as well, is not padded.
    """
    value = sample[0, 0, 0]
    content = np.asarray(sample != value)
    if content.all() or not content.any():
        return None
    spans = [np.flatnonzero(content.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    inside = content[tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)]
    is_padding = inside.size < content.size and inside.mean() > 0.9
    return float(value) if is_padding else None


def _decision(
    contrast: Literal["dark", "bright"], reason: str, *, confident: bool, skewness: float | None
) -> ContrastDecision:
    return ContrastDecision(1 if contrast == "bright" else -1, contrast, reason, confident, skewness)


def _deciding_skewness(tomogram: Tomogram) -> tuple[float, float, bool]:
    """Skewness, scale in A, and whether it is beyond doubt."""
    blocks, voxel_size = _blocks(tomogram)
    scales = [scale for scale in PARTICLE_SCALES if scale >= 3 * voxel_size] or [4 * voxel_size]
    found = [(*_band_skewness(blocks, scale / voxel_size), scale) for scale in scales]
    skewness, error, scale = max(found, key=lambda item: abs(item[0]) / item[1])
    return skewness, scale, abs(skewness) > max(_MIN_SKEWNESS, _MIN_STANDARD_ERRORS * error)


def _blocks(tomogram: Tomogram) -> tuple[list[npt.NDArray[np.float32]], float]:
    """Blocks spread evenly over the volume, clipped and thinned to about 10 A, and their voxel size."""
    thin = max(1, int(10.0 / tomogram.voxel_size))
    side = max(32 * thin, round(_BLOCK_ANGSTROM / tomogram.voxel_size))
    corners = [_starts(size, side) for size in tomogram.shape]
    chosen = list(itertools.product(*corners))
    budget = max(1, _MAX_VOXELS // (min(side, max(tomogram.shape)) // thin) ** 3)
    if len(chosen) > budget:
        chosen = [chosen[index] for index in np.linspace(0, len(chosen) - 1, budget).round().astype(int)]
    blocks = []
    for z, y, x in chosen:
        block = np.asarray(tomogram.data[z : z + side, y : y + side, x : x + side], dtype=np.float32)
        if not np.isfinite(block).all():
            raise InputError(f"{tomogram.name}: the volume holds NaN or infinity; mend or crop it first")
        block = _thinned(block, thin)
        if min(block.shape) >= 4 and np.ptp(block) > 0:
            blocks.append(block)
    if not blocks:
        return [np.zeros((4, 4, 4), dtype=np.float32)], tomogram.voxel_size * thin
    low, high = clip_limits(np.concatenate([block.ravel() for block in blocks]), (0.5, 99.5))
    return [np.clip(block, low, high) for block in blocks], tomogram.voxel_size * thin


def _starts(size: int, side: int) -> list[int]:
    count = max(1, -(-size // (2 * side)) if size > side else 1)
    return [round(start) for start in np.linspace(0, max(0, size - side), max(count, 2 if size > side else 1))]


def _thinned(block: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    if factor == 1:
        return block
    z, y, x = (size - size % factor for size in block.shape)
    split = block[:z, :y, :x].reshape(z // factor, factor, y // factor, factor, x // factor, factor)
    return np.asarray(split.mean(axis=(1, 3, 5)), dtype=np.float32)


def _band_skewness(blocks: list[npt.NDArray[np.float32]], diameter_vox: float) -> tuple[float, float]:
    """Skewness of the difference of Gaussians matched to a ball of this diameter, and its standard error."""
    fine = max(0.6, diameter_vox / (2 * _SCALE_RATIO))
    values = np.concatenate([_difference_of_gaussians(block, fine).ravel() for block in blocks])
    low, high = np.percentile(values, (0.1, 99.9))
    values = np.clip(values, low, high) - values.mean()
    spread = float(np.mean(values**2, dtype=np.float64))
    if spread <= 1e-12:
        return 0.0, np.inf
    independent = max(1.0, values.size / (_CORRELATION_VOLUME * fine**3))
    return float(np.mean(values**3, dtype=np.float64) / spread**1.5), float(np.sqrt(6 / independent))


def _difference_of_gaussians(block: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    smooth = gaussian_filter(block, sigma, mode="reflect", truncate=3)
    return np.asarray(
        smooth - gaussian_filter(block, sigma * _SCALE_RATIO, mode="reflect", truncate=3), dtype=np.float32
    )
