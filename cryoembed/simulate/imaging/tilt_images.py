"""From a sample to its tilt images: projection, optics, ice and camera, with signal and noise kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.alignment import align
from cryoembed.simulate.imaging.contrasts import Contrasts
from cryoembed.simulate.imaging.correction import correct
from cryoembed.simulate.imaging.detector import Detector, count
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.fourier import Image, filtered
from cryoembed.simulate.imaging.ice import Ice
from cryoembed.simulate.imaging.spectrum import Spectra, matching_filter
from cryoembed.simulate.threads import in_threads

Volume = npt.NDArray[np.float32]
Images = npt.NDArray[np.float32]
_SLAB_WORKERS = 4  # each multislice worker holds all slabs of its tilt


@dataclass(frozen=True, eq=False)
class TiltImages:
    """A recorded tilt series, in parts.

    Attributes
    ----------
    signal
        (t, y, u) counts as the camera shows them on average.
    noise
        (t, y, u) what chance adds, or None.
    corrected_signal, corrected_noise
        The same after `correction.correct`; the noise as two halves of the electrons each (two arrays, or none).
    mean
        Counts per pixel, over all images.
    """

    signal: Images
    noise: Images | None
    corrected_signal: Images
    corrected_noise: tuple[Images, ...]
    mean: float


def take_tilt_series(
    density: Volume,
    voxel_size: float,
    config: ImagingConfig,
    exposures: Exposures,
    generator: np.random.Generator,
    *,
    sample_mask: npt.NDArray[np.bool_] | None = None,
    gold: npt.NDArray[np.bool_] | None = None,
    spectra: Spectra | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> TiltImages:
    """Take the images of a density (z, y, x); chance is the same whatever the number of threads."""
    _, height, width = density.shape
    tilts = len(exposures.tilts_deg)
    noisy = config.poisson or np.isfinite(exposures.beam_damage_snr)
    seeds = generator.integers(0, 2**63, size=tilts)
    detector = Detector.of(config, (height, width), voxel_size)
    ice = Ice(density.shape, voxel_size, exposures, sample_mask, threads=threads, device=device)
    contrasts = Contrasts(density, voxel_size, config, exposures, gold=gold, threads=threads, device=device)
    stacks = [np.empty((tilts, height, width), dtype=np.float32) for _ in range(5 if noisy else 2)]

    def take(tilt: int) -> None:
        own = np.random.default_rng(seeds[tilt])
        incident = exposures.dose_per_tilt * voxel_size**2 * ice.through(tilt)
        seen = np.asarray(incident * np.maximum(1 - contrasts.at(tilt), 0), dtype=np.float32)
        electrons = _displaced(seen, exposures, tilt)
        parts: list[Image] = [detector.noise_free(electrons)]
        if noisy:
            halves = _recorded(electrons, config, detector, exposures.beam_damage_snr, own)
            parts += [np.asarray(half - parts[0] / 2) for half in halves]
        if spectra is not None:
            place = tilt / max(tilts - 1, 1)
            matching = matching_filter(np.sum(parts, axis=0, dtype=np.float32), voxel_size, spectra, place)
            parts = [filtered(part, matching) for part in parts]
        stacks[0][tilt] = parts[0]
        flat = parts[0] - np.mean(parts[0], dtype=np.float64).astype(np.float32)
        corrected = correct([flat, *parts[1:]], voxel_size, config, exposures, tilt)
        stacks[1][tilt] = corrected[0]
        if noisy:
            stacks[2][tilt] = parts[1] + parts[2]
            stacks[3][tilt], stacks[4][tilt] = corrected[1:]

    in_threads(take, range(tilts), threads, most=_SLAB_WORKERS if config.model == "multislice" else None)
    mean = float(np.mean(stacks[0], dtype=np.float64))
    return TiltImages(stacks[0], stacks[2] if noisy else None, stacks[1], tuple(stacks[3:]), mean)


def _displaced(image: Image, exposures: Exposures, tilt: int) -> Image:
    """The image as a misaligned series holds it."""
    geometry = exposures.misalignment.subset([tilt])
    return image if geometry.is_aligned else align(image[None], geometry)[0]


def _recorded(
    electrons: Image, config: ImagingConfig, detector: Detector, damage_snr: float, generator: np.random.Generator
) -> list[Image]:
    """Two halves of the camera's image, each of half of the electrons."""
    if np.isfinite(damage_snr):  # the sample's own noise, the same in both halves
        spread = np.std(electrons, dtype=np.float64) / np.sqrt(damage_snr)
        electrons = electrons + np.float32(spread) * generator.standard_normal(electrons.shape, dtype=np.float32)
    half = np.asarray(detector.arriving(electrons) / 2, dtype=np.float32)
    return [detector.shown(count(half, generator) if config.poisson else half) for _ in range(2)]
