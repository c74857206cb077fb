"""From a sample to its tilt images: projection, optics, ice and camera, with signal and noise kept apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.alignment import align
from cryoembed.simulate.imaging.blocks import usable_threads
from cryoembed.simulate.imaging.correction import correct
from cryoembed.simulate.imaging.detector import Detector, count, filtered
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.ice import Ice
from cryoembed.simulate.imaging.lens import Image, Lens
from cryoembed.simulate.imaging.multislice import multislice_image
from cryoembed.simulate.imaging.optics import PROTEIN_POTENTIAL, damage, frequency_grid, sample_blur
from cryoembed.simulate.imaging.projection import project, project_slabs
from cryoembed.simulate.imaging.spectrum import Spectra, matching_filter
from cryoembed.simulate.imaging.surroundings import Mirrored, reach_vox
from cryoembed.simulate.imaging.weak_phase import phase_shift_of, weak_phase_image

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
    spectra: Spectra | None = None,
    threads: int | None = None,
) -> TiltImages:
    """Take the images of a density (z, y, x); chance is the same whatever the number of threads."""
    _, height, width = density.shape
    tilts = len(exposures.tilts_deg)
    noisy = config.poisson or np.isfinite(exposures.beam_damage_snr)
    seeds = generator.integers(0, 2**63, size=tilts)
    detector = Detector.of(config, (height, width), voxel_size)
    ice = Ice(density.shape, voxel_size, exposures, sample_mask, threads=threads)
    optics = _Optics(density, voxel_size, config, exposures, threads)
    stacks = [np.empty((tilts, height, width), dtype=np.float32) for _ in range(5 if noisy else 2)]

    def take(tilt: int) -> None:
        own = np.random.default_rng(seeds[tilt])
        incident = exposures.dose_per_tilt * voxel_size**2 * ice.through(tilt)
        seen = np.asarray(incident * np.maximum(1 - optics.contrast(tilt), 0), dtype=np.float32)
        electrons = _displaced(seen, exposures, tilt)
        parts: list[Image] = [detector.noise_free(electrons)]
        if noisy:
            halves = _recorded(
                electrons, config, detector, _damage_spread(electrons, voxel_size, config, exposures), own
            )
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

    workers = usable_threads() if threads is None else max(int(threads), 1)
    with ThreadPoolExecutor(min(workers, _SLAB_WORKERS) if config.model == "multislice" else workers) as pool:
        for _ in pool.map(take, range(tilts)):
            pass
    mean = float(np.mean(stacks[0], dtype=np.float64))
    return TiltImages(stacks[0], stacks[2] if noisy else None, stacks[1], tuple(stacks[3:]), mean)


class _Optics:
    """The contrast of every tilt; weak phase projects all tilts at once, multislice one by one."""

    def __init__(
        self, density: Volume, voxel_size: float, config: ImagingConfig, exposures: Exposures, threads: int | None
    ) -> None:
        self._voxel_size, self._config, self._exposures = voxel_size, config, exposures
        self._density, self._width = density, density.shape[2]
        ky, kx = frequency_grid((density.shape[1], density.shape[2]), voxel_size)
        self._k = np.hypot(ky, kx)
        self._blur = sample_blur(self._k, config)
        self._projected: Images | None = None
        if config.model == "weak_phase":
            self._projected = project(
                self._sample(exposures.tilts_deg), exposures.tilts_deg, width_px=self._width, threads=threads
            )

    def contrast(self, tilt: int) -> Image:
        """(y, u): the intensity is 1 minus this; what blurs the sample blurs the contrast."""
        config, exposures, pixel = self._config, self._exposures, self._voxel_size
        lens = Lens.of(exposures, tilt, config)
        if self._projected is not None:
            contrast = weak_phase_image(self._phase(self._projected[tilt]), pixel, lens)
        else:
            slab_vox = max(config.slab / pixel, 1.0)
            angle = float(exposures.tilts_deg[tilt])
            slabs = project_slabs(self._sample(angle), angle, slab_vox, width_px=self._width, threads=1)
            contrast = multislice_image(self._phase(slabs), slab_vox * pixel, pixel, lens)
        blur = self._blur
        if config.damage:
            blur = blur * damage(self._k, exposures.doses[tilt]).astype(np.float32)
        return filtered(contrast, blur)

    def _sample(self, tilts_deg: npt.ArrayLike) -> Any:
        """The density, with as much around it as these tilts see."""
        if self._config.surroundings == "ice":
            return self._density
        return Mirrored(self._density, reach_vox(self._density.shape, tilts_deg))

    def _phase(self, line_integrals: Image) -> Image:
        """Rad; line integrals are in voxels of density."""
        return phase_shift_of(
            line_integrals * np.float32(self._voxel_size * PROTEIN_POTENTIAL), self._config.voltage_kv
        )


def _displaced(image: Image, exposures: Exposures, tilt: int) -> Image:
    """The image as a misaligned series holds it."""
    geometry = exposures.misalignment.subset([tilt])
    return image if geometry.is_aligned else align(image[None], geometry)[0]


def _damage_spread(electrons: Image, voxel_size: float, config: ImagingConfig, exposures: Exposures) -> float:
    """S.d. per pixel of the sample's own noise.

    SHREC 2021 adds it at 5 A and bins to 10 A: white noise in finer pixels keeps only ``pixel / voxel`` of its s.d.
    """
    if not np.isfinite(exposures.beam_damage_snr):
        return 0.0
    pixel = config.beam_damage_pixel or voxel_size
    spread = np.std(electrons, dtype=np.float64) / np.sqrt(exposures.beam_damage_snr)
    return float(spread * pixel / voxel_size)


def _recorded(
    electrons: Image, config: ImagingConfig, detector: Detector, damage_spread: float, generator: np.random.Generator
) -> list[Image]:
    """Two halves of the camera's image, each of half of the electrons."""
    if damage_spread > 0:  # the sample's own noise, the same in both halves
        noise = generator.standard_normal(electrons.shape, dtype=np.float32)
        electrons = electrons + np.float32(damage_spread) * noise
    half = np.asarray(detector.arriving(electrons) / 2, dtype=np.float32)
    return [detector.shown(count(half, generator) if config.poisson else half) for _ in range(2)]
