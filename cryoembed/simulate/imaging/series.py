"""What the microscope and the reconstruction make of a sample: missing wedge, CTF, envelopes and shaped noise.

Linear weak-phase imaging: the sample's Fourier transform times one filter, plus noise shaped by another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.filters import Filter, noise_filter, signal_filter

Volume = npt.NDArray[np.float32]
__all__ = ["Imaged", "ImagingConfig", "image", "snr_region"]


@dataclass(frozen=True, eq=False)
class Imaged:
    """A tomogram as a user would get it, and what it would be without noise; all in the contrast asked for.

    ``even`` and ``odd`` share the signal and have independent noise; ``reconstruction`` is their mean.
    """

    reconstruction: Volume
    even: Volume
    odd: Volume
    clean: Volume
    params: dict[str, float]


def image(
    density: Volume,
    voxel_size: float,
    config: ImagingConfig,
    generator: np.random.Generator,
    *,
    occupancy: npt.NDArray[np.generic] | None = None,
) -> Imaged:
    """Turn a density (particles bright) into a tomogram.

    Parameters
    ----------
    density
        (z, y, x) float32, solvent 0.
    occupancy
        (z, y, x) nonzero (or True) inside macromolecules; needed for ``snr_particle``.

    Raises
    ------
    InputError
        If ``snr_particle`` is asked for without any occupied voxel, or the signal is constant.
    """
    shape = density.shape
    defocus_um = generator.uniform(*config.defocus_um)
    exponent = generator.uniform(*config.noise_exponent)
    asked = config.snr_particle or config.snr_volume
    snr = float(np.exp(generator.uniform(*np.log(asked)))) if asked else np.inf
    params = {"defocus_um": float(defocus_um), "noise_exponent": float(exponent), "snr": snr}

    spectrum = fft.rfftn(density)
    spectrum *= signal_filter(shape, voxel_size, config, defocus_um, generator)
    clean = fft.irfftn(spectrum, s=shape).astype(np.float32)
    sign = np.float32(-1.0 if config.contrast == "dark" else 1.0)
    if not np.isfinite(snr):
        return Imaged(sign * clean, sign * clean, sign * clean, sign * clean, params)

    shaping = noise_filter(shape, voxel_size, config, exponent=exponent)
    halves = [_shaped_noise(shape, shaping, generator) for _ in range(2)]
    region = snr_region(shape, config, occupancy)
    noise = (halves[0] + halves[1]) / 2
    signal_power, noise_power = float(clean[region].var(dtype=np.float64)), float(noise[region].var(dtype=np.float64))
    if not signal_power > 0:
        raise InputError(
            "imaging: the density is constant, there is no signal to set the noise by; pack some particles"
        )
    scale = np.float32(np.sqrt(signal_power / snr / noise_power))
    even, odd = (sign * (clean + scale * half) for half in halves)
    reconstruction = np.asarray((even + odd) / 2, dtype=np.float32)
    return Imaged(reconstruction, even, odd, sign * clean, params)


def snr_region(
    shape: tuple[int, ...], config: ImagingConfig, occupancy: npt.NDArray[np.generic] | None
) -> npt.NDArray[np.bool_]:
    """Voxels over which the SNR is defined: everything, or the macromolecules' masks dilated by one voxel."""
    if config.snr_particle is None:
        return np.ones(shape, dtype=np.bool_)
    if occupancy is None or not np.any(occupancy):
        raise InputError("imaging: snr_particle needs particles (an occupancy mask); give snr_volume instead")
    return np.asarray(ndimage.binary_dilation(occupancy != 0, iterations=1), dtype=np.bool_)


def _shaped_noise(shape: tuple[int, ...], shaping: Filter, generator: np.random.Generator) -> Volume:
    spectrum = fft.rfftn(generator.standard_normal(shape, dtype=np.float32))
    spectrum *= shaping
    return np.asarray(fft.irfftn(spectrum, s=shape), dtype=np.float32)
