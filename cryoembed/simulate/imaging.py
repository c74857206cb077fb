"""What the microscope and the reconstruction make of a sample: missing wedge, CTF, envelopes and shaped noise.

Linear weak-phase imaging in 3D Fourier space. A tilt series samples the volume on central planes that contain the
tilt axis y; weighted back-projection multiplies each plane by a ramp, which makes the signal flat and leaves white
detector noise with a power that grows with the distance from the tilt axis. Both are applied here as 3D filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy import fft, ndimage

from cryoembed.config import Config
from cryoembed.errors import InputError

Volume = npt.NDArray[np.float32]
Filter = npt.NDArray[np.float32]
Range = tuple[float, float]
_BINS = 512  # radial samples of the CTF table


class ImagingConfig(Config):
    """How a tomogram is taken; ranges are drawn uniformly, once per tomogram.

    The signal-to-noise ratio is a ratio of variances: ``snr_particle`` inside dilated masks of the macromolecules
    (needs the occupancy), ``snr_volume`` over the reconstruction. Exactly one is given; null turns noise off if both are.
    """

    tilt_max_deg: float = Field(default=60.0, gt=0, le=90)
    tilt_step_deg: float = Field(default=3.0, gt=0, le=30)
    tilt_axis: Literal["y"] = "y"
    ctf: bool = True
    ctf_correction: Literal["none", "phase_flip"] = "phase_flip"
    defocus_um: Range = (2.0, 5.0)  # underfocus positive
    defocus_jitter_um: Annotated[float, Field(ge=0)] = 0.2  # s.d. from tilt to tilt
    voltage_kv: float = Field(default=300.0, gt=0)
    cs_mm: float = Field(default=2.7, ge=0)
    amplitude_contrast: float = Field(default=0.1, ge=0, le=1)
    dose: Annotated[float, Field(ge=0)] = 120.0  # e/A^2 over the series, dose-symmetric; 0: no radiation damage
    dose_weighting: bool = True  # whether the reconstruction weighted each tilt by what its dose had left
    cosine_weighting: bool = True  # and by the cosine of its angle
    mean_free_path: Annotated[float, Field(ge=0)] = 3500.0  # A, inelastic: tilted ice lets fewer electrons through; 0: off
    bfactor: Annotated[float, Field(ge=0)] = 200.0  # A^2, amplitude envelope exp(-B k^2 / 4)
    lowpass: Annotated[float, Field(ge=0)] = 0.0  # A, soft cut of the reconstruction; 0: none
    snr_particle: Range | None = (0.1, 0.5)
    snr_volume: Range | None = None
    noise_exponent: Range = (0.3, 0.9)  # colour of the projections' noise: power ~ k^-exponent
    contrast: Literal["dark", "bright"] = "dark"

    @model_validator(mode="after")
    def _consistent(self) -> ImagingConfig:
        if self.snr_particle is not None and self.snr_volume is not None:
            raise ValueError("give snr_particle or snr_volume and set the other to null")
        for name in ("snr_particle", "snr_volume", "defocus_um", "noise_exponent"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name}: the range {limits} runs backwards")
        for name in ("snr_particle", "snr_volume"):
            limits = getattr(self, name)
            if limits is not None and limits[0] <= 0:
                raise ValueError(f"{name}: must be positive, got {limits}")
        return self

    @property
    def tilts_deg(self) -> npt.NDArray[np.float64]:
        """(t,) tilt angles, symmetric about 0."""
        steps = int(np.floor(self.tilt_max_deg / self.tilt_step_deg + 1e-9))
        return np.arange(-steps, steps + 1) * self.tilt_step_deg


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
        raise InputError("imaging: the density is constant, there is no signal to set the noise by; pack some particles")
    scale = np.float32(np.sqrt(signal_power / snr / noise_power))
    even, odd = (sign * (clean + scale * half) for half in halves)
    return Imaged((even + odd) / 2, even, odd, sign * clean, params)


def snr_region(
    shape: tuple[int, ...], config: ImagingConfig, occupancy: npt.NDArray[np.generic] | None
) -> npt.NDArray[np.bool_]:
    """Voxels over which the SNR is defined: everything, or the macromolecules' masks dilated by one voxel."""
    if config.snr_particle is None:
        return np.ones(shape, dtype=np.bool_)
    if occupancy is None or not np.any(occupancy):
        raise InputError("imaging: snr_particle needs particles (an occupancy mask); give snr_volume instead")
    return np.asarray(ndimage.binary_dilation(occupancy != 0, iterations=1), dtype=np.bool_)


def signal_filter(
    shape: tuple[int, ...],
    voxel_size: float,
    config: ImagingConfig,
    defocus_um: float,
    generator: np.random.Generator | None = None,
) -> Filter:
    """What multiplies the signal's rfftn: wedge x ramp-compensated sampling x CTF x envelopes."""
    kz, ky, kx = _frequencies(shape, voxel_size)
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    tilts = len(config.tilts_deg)
    jitter = generator.normal(0, config.defocus_jitter_um, tilts) if generator is not None else np.zeros(tilts)
    k = _table_frequencies(voxel_size)
    curves = _damage_table(k, config) ** (2 if config.dose_weighting else 1)
    curves *= np.exp(-config.bfactor / 4 * k**2) * _tilt_gain(shape[0] * voxel_size, config)[:, None]
    if config.ctf:
        optics = {"voltage_kv": config.voltage_kv, "cs_mm": config.cs_mm, "amplitude_contrast": config.amplitude_contrast}
        contrast = np.stack([ctf(k, defocus_um + shift, **optics) for shift in jitter])
        curves *= np.abs(contrast) if config.ctf_correction == "phase_flip" else contrast
    weight = _sampling(kz, kx, config) * _window(radius, voxel_size, config)
    return weight * _by_tilt(curves, kz, kx, radius, voxel_size, config)


def noise_filter(
    shape: tuple[int, ...], voxel_size: float, config: ImagingConfig, *, exponent: float = 0.0
) -> Filter:
    """What multiplies white noise's rfftn: power ~ distance from the tilt axis, inside the wedge, coloured."""
    kz, ky, kx = _frequencies(shape, voxel_size)
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    distance = np.sqrt(kz**2 + kx**2)  # from the tilt axis: the ramp's argument
    colour = np.maximum(radius, 1 / (max(shape) * voxel_size)) ** np.float32(-exponent / 2)
    weight = np.sqrt(distance * _sampling(kz, kx, config)) * _window(radius, voxel_size, config) * colour
    curves = np.ones((len(config.tilts_deg), _BINS)) * _tilt_gain(shape[0] * voxel_size, config, counts_power=0.5)[:, None]
    if config.dose_weighting:
        curves *= _damage_table(_table_frequencies(voxel_size), config)
    return np.asarray(weight * _by_tilt(curves, kz, kx, radius, voxel_size, config), dtype=np.float32)


def ctf(
    frequency: npt.ArrayLike, defocus_um: float, *, voltage_kv: float, cs_mm: float, amplitude_contrast: float
) -> npt.NDArray[np.float64]:
    """Contrast transfer at spatial frequencies (1/A), with the sign that shows particles bright at low resolution.

    ``sin(pi lambda D k^2 - pi/2 Cs lambda^3 k^4 + asin A)`` with underfocus D positive (Mindell and Grigorieff 2003,
    equation 1, negated); overfocus would show particles dark, so its sign is turned as well.
    """
    k = np.asarray(frequency, dtype=np.float64)
    wavelength = electron_wavelength(voltage_kv)
    phase = np.pi * wavelength * defocus_um * 1e4 * k**2 - 0.5 * np.pi * cs_mm * 1e7 * wavelength**3 * k**4
    sign = -1.0 if defocus_um < 0 else 1.0
    return np.sin(sign * phase + np.arcsin(amplitude_contrast))


def electron_wavelength(voltage_kv: float) -> float:
    """Relativistic wavelength in A (0.0197 at 300 kV)."""
    volts = voltage_kv * 1e3
    return float(12.2642598 / np.sqrt(volts * (1 + 0.978475598e-6 * volts)))


def _frequencies(shape: tuple[int, ...], voxel_size: float) -> tuple[Filter, Filter, Filter]:
    """Spatial frequencies (1/A) along z, y and (half) x, ready to broadcast."""
    kz = np.fft.fftfreq(shape[0], voxel_size).astype(np.float32)[:, None, None]
    ky = np.fft.fftfreq(shape[1], voxel_size).astype(np.float32)[None, :, None]
    kx = np.fft.rfftfreq(shape[2], voxel_size).astype(np.float32)[None, None, :]
    return kz, ky, kx


def _sampling(kz: Filter, kx: Filter, config: ImagingConfig) -> Filter:
    """(z, 1, x) share of the planes' samples at each distance and angle from the tilt axis, 1 where dense.

    Each plane is as thick as the inverse of the volume's thickness; far from the axis neighbouring planes separate,
    which gives back-projections their grain. The ramp times this density is flat near the axis.
    """
    thickness = 1 / (kz[1, 0, 0] if kz.shape[0] > 1 else 1.0)
    tilts = np.deg2rad(config.tilts_deg)
    total = np.zeros((kz.shape[0], 1, kx.shape[2]), dtype=np.float32)
    for tilt in tilts:
        away = np.abs(kz * np.float32(np.cos(tilt)) - kx * np.float32(np.sin(tilt)))
        total += np.clip(1 - away * thickness, 0, None)
    distance = np.sqrt(kz**2 + kx**2)
    spacing = np.deg2rad(config.tilt_step_deg) * distance * thickness  # between planes, in plane thicknesses
    return np.minimum(total * np.minimum(spacing, 1), 1).astype(np.float32)


def _window(radius: Filter, voxel_size: float, config: ImagingConfig) -> Filter:
    """Soft Hann fall-off of the ramp filter from a quarter of Nyquist to Nyquist, and the low-pass if there is one."""
    nyquist = 0.5 / voxel_size
    edge = np.clip((radius - 0.25 * nyquist) / (0.8 * nyquist), 0, 1)
    window = 0.5 * (1 + np.cos(np.pi * edge))
    if config.lowpass > 0:
        cut = np.clip((radius * config.lowpass - 0.9) / 0.2, 0, 1)
        window = window * 0.5 * (1 + np.cos(np.pi * cut))
    return window.astype(np.float32)


def _table_frequencies(voxel_size: float) -> npt.NDArray[np.float64]:
    """Radial samples (1/A) from 0 to the corner of the Fourier box."""
    return np.linspace(0, np.sqrt(3) * 0.5 / voxel_size, _BINS)


def _by_tilt(
    curves: npt.NDArray[np.float64], kz: Filter, kx: Filter, radius: Filter, voxel_size: float, config: ImagingConfig
) -> Filter:
    """(z, y, x) value of the (tilt, frequency) table at the tilt nearest to each voxel of the Fourier box."""
    tilts = config.tilts_deg
    angle = np.rad2deg(np.arctan2(kz, kx))  # kx >= 0: between -90 and 90
    nearest = np.clip(np.rint((angle - tilts[0]) / config.tilt_step_deg), 0, len(tilts) - 1).astype(np.int32)
    bins = (radius * np.float32((_BINS - 1) / _table_frequencies(voxel_size)[-1]) + np.float32(0.5)).astype(np.int32)
    return np.take(curves.astype(np.float32).reshape(-1), nearest * _BINS + bins)


def _tilt_gain(thickness: float, config: ImagingConfig, *, counts_power: float = 1.0) -> npt.NDArray[np.float64]:
    """(t,) weight of each tilt: its cosine, and the electrons left (signal grows with counts, noise with their root)."""
    cosine = np.cos(np.deg2rad(config.tilts_deg))
    gain = cosine if config.cosine_weighting else np.ones_like(cosine)
    if config.mean_free_path > 0:
        counts = np.exp(-thickness / config.mean_free_path * (1 / np.maximum(cosine, 0.05) - 1))
        gain = gain * counts**counts_power
    return np.asarray(gain, dtype=np.float64)


def _damage_table(k: npt.NDArray[np.float64], config: ImagingConfig) -> npt.NDArray[np.float64]:
    """(t, k) amplitude left at each tilt of a dose-symmetric series: Grant and Grigorieff 2015, equation 3 (300 kV)."""
    count = len(config.tilts_deg)
    order = np.argsort(np.argsort(np.abs(config.tilts_deg), kind="stable"))  # small tilts are taken first
    exposure = config.dose * (order + 0.5) / count
    critical = 0.245 * np.maximum(k, 1e-4) ** -1.665 + 2.81
    return np.exp(-exposure[:, None] / (2 * critical))


def _shaped_noise(shape: tuple[int, ...], shaping: Filter, generator: np.random.Generator) -> Volume:
    spectrum = fft.rfftn(generator.standard_normal(shape, dtype=np.float32))
    spectrum *= shaping
    return np.asarray(fft.irfftn(spectrum, s=shape), dtype=np.float32)
