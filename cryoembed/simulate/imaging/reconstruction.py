"""From the parts of a tilt series to volumes: noise scaled to the SNR that is asked, halves, and the SNR there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.materials import PROTEIN_POTENTIAL
from cryoembed.simulate.electrons import interaction_constant
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.tilt_images import TiltImages
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct

Volume = npt.NDArray[np.float32]


def reconstructed(
    images: TiltImages,
    exposures: Exposures,
    voxel_size: float,
    config: ImagingConfig,
    shape: tuple[int, ...],
    region: npt.NDArray[np.bool_],
    *,
    threads: int | None = None,
    device: str = "cpu",
) -> tuple[list[Volume], np.float32]:
    """Reconstruction, even, odd and clean, particles bright; and by how much the noise was scaled."""
    # contrast per voxel of density 1: the volume gets the density's own unit
    unit = images.mean * 2 * interaction_constant(config.voltage_kv) * PROTEIN_POTENTIAL * voxel_size

    def back(stack: npt.NDArray[np.float32], tilts: str = "all") -> Volume:
        volume = reconstruct(
            stack,
            TiltGeometry(exposures.nominal_deg),
            shape,  # type: ignore[arg-type]
            voxel_size,
            binning=config.binning,
            tilts=tilts,  # type: ignore[arg-type]
            threads=threads,
            device=device,
        )
        volume /= np.float32(unit)
        return volume

    clean = back(images.corrected_signal)
    if not images.corrected_noise:
        halves = [clean, clean]
        if config.halves == "tilts":
            halves = [back(images.corrected_signal, half) for half in ("even", "odd")]
        return [clean.copy(), *(half.copy() for half in halves), clean], np.float32(1)
    noises = [back(stack) for stack in images.corrected_noise]
    noise = noises[0] + noises[1]
    scale = np.float32(1)
    if np.isfinite(exposures.snr):
        scale = np.float32(np.sqrt(_ratio_of_variances(clean, noise, region) / exposures.snr))
    if config.halves == "tilts":
        whole = images.corrected_signal + scale * (images.corrected_noise[0] + images.corrected_noise[1])
        halves = [back(whole, half) for half in ("even", "odd")]
    else:
        for half in noises:
            half *= 2 * scale
            half += clean
        halves = noises
    noise *= scale
    noise += clean
    return [noise, *halves, clean], scale


def snr_region(
    shape: tuple[int, ...], config: ImagingConfig, occupancy: npt.NDArray[np.generic] | None
) -> npt.NDArray[np.bool_]:
    """Voxels over which the SNR is defined: everything, or the macromolecules' masks dilated by one voxel."""
    if config.snr_particle is None:
        return np.ones(shape, dtype=np.bool_)
    if occupancy is None or not np.any(occupancy):
        raise InputError("imaging: snr_particle needs particles (an occupancy mask); give snr_volume instead")
    if occupancy.shape != tuple(shape):
        raise InputError(f"imaging: the occupancy has the shape {occupancy.shape}, the density {tuple(shape)}")
    return _near(occupancy)


def measured_snr(reconstruction: Volume, clean: Volume, occupancy: npt.NDArray[np.generic] | None) -> dict[str, float]:
    """``snr_volume``, and ``snr_particle`` where there are particles; nothing where there is no noise."""
    noise = reconstruction - clean
    if not noise.any():
        return {}
    measured = {"snr_volume": _ratio_of_variances(clean, noise, ...)}
    if occupancy is not None and np.any(occupancy):
        measured["snr_particle"] = _ratio_of_variances(clean, noise, _near(occupancy))
    return measured


def _near(occupancy: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    return np.asarray(ndimage.binary_dilation(occupancy != 0, iterations=1), dtype=np.bool_)


def _ratio_of_variances(clean: Volume, noise: Volume, region: Any) -> float:
    return float(clean[region].var(dtype=np.float64) / noise[region].var(dtype=np.float64))
