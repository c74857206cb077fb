"""What imaging and back-projection do to a volume, as filters on its 3D Fourier transform (rfftn, zyx).

A tilt series samples the volume on central planes that contain the tilt axis y. Weighted back-projection multiplies
each plane by a ramp: the signal becomes flat, white detector noise gets a power that grows away from the axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.optics import ctf, damage

Filter = npt.NDArray[np.float32]
_BINS = 512  # radial samples of the tables


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
        optics = {
            "voltage_kv": config.voltage_kv,
            "cs_mm": config.cs_mm,
            "amplitude_contrast": config.amplitude_contrast,
        }
        contrast = np.stack([ctf(k, defocus_um + shift, **optics) for shift in jitter])
        curves *= np.abs(contrast) if config.ctf_correction == "phase_flip" else contrast
    weight = _sampling(kz, kx, config) * _window(radius, voxel_size, config)
    return np.asarray(weight * _by_tilt(curves, kz, kx, radius, voxel_size, config), dtype=np.float32)


def noise_filter(shape: tuple[int, ...], voxel_size: float, config: ImagingConfig, *, exponent: float = 0.0) -> Filter:
    """What multiplies white noise's rfftn: power ~ distance from the tilt axis, inside the wedge, coloured."""
    kz, ky, kx = _frequencies(shape, voxel_size)
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    distance = np.sqrt(kz**2 + kx**2)  # from the tilt axis: the ramp's argument
    colour = np.maximum(radius, 1 / (max(shape) * voxel_size)) ** np.float32(-exponent / 2)
    weight = np.sqrt(distance * _sampling(kz, kx, config)) * _window(radius, voxel_size, config) * colour
    gain = _tilt_gain(shape[0] * voxel_size, config, counts_power=0.5)
    curves = np.repeat(gain[:, None], _BINS, axis=1)
    if config.dose_weighting:
        curves *= _damage_table(_table_frequencies(voxel_size), config)
    return np.asarray(weight * _by_tilt(curves, kz, kx, radius, voxel_size, config), dtype=np.float32)


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
    return np.asarray(np.minimum(total * np.minimum(spacing, 1), 1), dtype=np.float32)


def _window(radius: Filter, voxel_size: float, config: ImagingConfig) -> Filter:
    """Soft Hann fall-off of the ramp filter from a quarter of Nyquist to Nyquist, and the low-pass if there is one."""
    nyquist = 0.5 / voxel_size
    edge = np.clip((radius - 0.25 * nyquist) / (0.8 * nyquist), 0, 1)
    window = 0.5 * (1 + np.cos(np.pi * edge))
    if config.lowpass > 0:
        cut = np.clip((radius * config.lowpass - 0.9) / 0.2, 0, 1)
        window = window * 0.5 * (1 + np.cos(np.pi * cut))
    return np.asarray(window, dtype=np.float32)


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
    return np.asarray(np.take(curves.astype(np.float32).reshape(-1), nearest * _BINS + bins), dtype=np.float32)


def _tilt_gain(thickness: float, config: ImagingConfig, *, counts_power: float = 1.0) -> npt.NDArray[np.float64]:
    """(t,) weight of each tilt: its cosine, and the electrons left (signal goes with counts, noise with their root)."""
    cosine = np.cos(np.deg2rad(config.tilts_deg))
    gain = cosine if config.cosine_weighting else np.ones_like(cosine)
    if config.mean_free_path > 0:
        counts = np.exp(-thickness / config.mean_free_path * (1 / np.maximum(cosine, 0.05) - 1))
        gain = gain * counts**counts_power
    return np.asarray(gain, dtype=np.float64)


def _damage_table(k: npt.NDArray[np.float64], config: ImagingConfig) -> npt.NDArray[np.float64]:
    """(t, k) amplitude left at each tilt of a dose-symmetric series (small tilts are taken first)."""
    count = len(config.tilts_deg)
    order = np.argsort(np.argsort(np.abs(config.tilts_deg), kind="stable"))
    return damage(k, (config.dose * (order + 0.5) / count)[:, None])
