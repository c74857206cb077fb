"""A microscope in two Fourier filters: what turns a clean density crop into one that looks reconstructed.

The slow way (`cryoembed.simulate.imaging`) projects tilt by tilt; this one multiplies the crop's spectrum by wedge,
CTF and envelope and adds noise with the same wedge, cheap enough to give every training crop its own microscope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from cryoembed.config import Config
from cryoembed.preprocess.spectrum import (
    HIGHEST,
    LIMIT,
    flattening,
    frequency,
    hermitian_weight,
    power_by_shell,
    shell_of,
    variance,
)

Range = tuple[float, float]
Shape = tuple[int, int, int]
# what the two views of a pair have in common: nothing, wedge and CTF, or the noise as well (one image for both)
Share = Literal["nothing", "microscope", "image"]
TABLE_STEPS = 256  # steps of spatial frequency between 0 and the corner of the cube, in look-up tables


class ImagingRanges(Config):
    """From what each crop's microscope is drawn, uniformly unless said otherwise (domain randomisation)."""

    snr: Range = Field(
        (0.08, 2.5), description="snr_particle: variance inside particle masks, signal to noise; log-uniform"
    )
    clean_probability: float = Field(0.0, ge=0, le=1, description="no wedge, no CTF, hardly any noise (the thesis)")
    tilt_max_deg: Range = (48.0, 66.0)
    axis_jitter_deg: float = 5.0
    defocus_um: Range = (1.5, 5.0)
    ctf_probability: float = Field(0.85, ge=0, le=1)
    phase_flip_probability: float = Field(0.5, ge=0, le=1)
    amplitude_contrast: Range = (0.07, 0.3)
    envelope: Range = Field((0.0, 1.5), description="signal falls to exp(-e) at Nyquist")
    noise_slope: Range = Field((0.0, 1.5), description="noise amplitude falls to exp(-s) at Nyquist")
    noise_ramp: Range = Field((0.0, 0.5), description="amplitude ~ (distance from the tilt axis)^r, as back-projected")
    soft_filter: Range = Field((0.0, 2.5), description="reconstruction filter on both: exp(-f) at Nyquist")
    tilt_falloff: Range = Field((0.0, 1.0), description="amplitude of a tilt ~ cos^f: thick ice and dose weighting")
    noise_rise: Range = Field((0.0, 2.0), description="extra low-frequency noise, times white")
    band_limit_probability: float = Field(0.35, ge=0, le=1, description="as if resampled from coarser voxels")
    band_limit: Range = Field((0.25, 0.5), description="cycles/voxel; 0.25 at 10 A is Nyquist of 20 A")
    contrast_gain: Range = (0.85, 1.2)
    clip_sigma: Range = Field((3.0, 5.0), description="both tails are cut there, as percentiles do for tomograms")
    voltage_kv: float = 300.0
    cs_mm: float = 2.7


@dataclass(frozen=True)
class Microscopes:
    """Filters of ``n`` draws on rfft grids, and what each does to a given spectrum.

    Attributes
    ----------
    signal, noise
        (n, z, y, x // 2 + 1) real transfer functions.
    snr, gain, clip_low, clip_high
        (n,) numbers; clips in s.d. of the tomogram.
    """

    signal: Tensor
    noise: Tensor
    snr: Tensor
    gain: Tensor
    clip_low: Tensor
    clip_high: Tensor

    def __len__(self) -> int:
        return len(self.snr)

    def of(self, rows: npt.NDArray[np.int64]) -> Microscopes:
        """The filters of the given draws, repeated as asked."""
        index = torch.from_numpy(rows)
        return Microscopes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def draw_microscopes(
    count: int, shape: Shape, voxel_size: float, ranges: ImagingRanges, generator: np.random.Generator
) -> Microscopes:
    """Draw ``count`` microscopes for crops of ``shape`` voxels of ``voxel_size`` A."""
    uniform = generator.uniform
    signals, noises, numbers = [], [], []
    for _ in range(count):
        clean = uniform() < ranges.clean_probability
        band = _band(shape, uniform(*ranges.band_limit) if uniform() < ranges.band_limit_probability / 2 else None)
        if band is None and uniform() < ranges.band_limit_probability / 2:
            band = _band(shape, ranges.band_limit[0])  # the usual case, 20 A data at 10 A, deserves its own share
        limit = uniform(*ranges.tilt_max_deg)
        wedge = _wedge(shape, limit, uniform(-1, 1) * ranges.axis_jitter_deg)
        signal = _signal_table(voxel_size, ranges, generator)[shell_of(shape, TABLE_STEPS)]
        noise = _noise_table(ranges, generator)[shell_of(shape, TABLE_STEPS)]
        support = wedge if band is None else wedge * band
        support = support * _soft_table(ranges, generator)[shell_of(shape, TABLE_STEPS)]
        support = support * _tilt_weight(shape, uniform(*ranges.tilt_falloff))
        noise = noise * _ramp(shape, uniform(*ranges.noise_ramp))
        if clean:
            signal, support = np.ones_like(signal), np.ones_like(support)
        signals.append(signal * support)
        noises.append(noise * support)
        snr = 100.0 if clean else float(np.exp(uniform(*np.log(ranges.snr))))
        numbers.append((snr, uniform(*ranges.contrast_gain), -uniform(*ranges.clip_sigma), uniform(*ranges.clip_sigma)))
    columns = torch.tensor(numbers, dtype=torch.float32).T
    return Microscopes(_stack(signals), _stack(noises), *columns)


def radial_power(volumes: Tensor) -> Tensor:
    """Mean power spectrum of (n, z, y, x) volumes by shell, (TABLE_STEPS,), normalised so that it sums to 1 over the grid.

    `transmitted` needs it to know beforehand how much variance a filter lets through.
    """
    shape = (int(volumes.shape[1]), int(volumes.shape[2]), int(volumes.shape[3]))
    spectrum = torch.fft.rfftn(volumes.float(), dim=(1, 2, 3)).abs().square().mean(0)
    spectrum[0, 0, 0] = 0
    weighted = spectrum * torch.from_numpy(hermitian_weight(shape))
    shell = torch.from_numpy(shell_of(shape, TABLE_STEPS)).flatten()
    sums = torch.zeros(TABLE_STEPS).index_add_(0, shell, weighted.flatten())
    counts = torch.zeros(TABLE_STEPS).index_add_(0, shell, torch.from_numpy(hermitian_weight(shape)).flatten())
    return sums / counts.clamp(min=1) / sums.sum()


def transmitted(transfer: Tensor, power: Tensor) -> Tensor:
    """(n,) share of the variance of a signal with radial ``power`` that (n, z, y, x // 2 + 1) filters let through."""
    shape = _shape(transfer)
    density = power[torch.from_numpy(shell_of(shape, TABLE_STEPS))] * torch.from_numpy(hermitian_weight(shape))
    return torch.einsum("nzyx,zyx->n", transfer.square(), density) / density.sum()


def image(
    density: Tensor,
    microscopes: Microscopes,
    *,
    particle_variance: Tensor,
    volume_variance: Tensor,
    generator: np.random.Generator,
) -> Tensor:
    """Noisy, wedge-shaped, normalised crops, as cut from a prepared tomogram (bright particles, mean 0, s.d. 1).

    Parameters
    ----------
    density
        (n, z, y, x) clean crops (even x), the mean of their tomogram taken off; a margin that is cut off later keeps
        wrapped-around streaks out.
    particle_variance, volume_variance
        (n,): variance of the *filtered* signal inside particles and over the whole tomogram the crop stands for. The
        first sets the noise by ``microscopes.snr``, both set the scale.
    generator
        Source of the noise.

    Returns
    -------
    (n, z, y, x) float32
    """
    shape = tuple(density.shape[1:])
    noise_power = transmitted(microscopes.noise, torch.ones(TABLE_STEPS))
    noise_variance = particle_variance / microscopes.snr
    noise_scale = (noise_variance / noise_power.clamp(min=1e-12)).sqrt()
    spectrum = torch.fft.rfftn(density, dim=(1, 2, 3)) * microscopes.signal
    spectrum += white_spectrum(tuple(density.shape), generator) * (microscopes.noise * noise_scale[:, None, None, None])
    noisy = torch.fft.irfftn(spectrum, s=shape, dim=(1, 2, 3))
    scale = microscopes.gain / (noise_variance + volume_variance).sqrt()
    noisy *= scale[:, None, None, None]
    limits = [limit[:, None, None, None] for limit in (microscopes.clip_low, microscopes.clip_high)]
    clipped: Tensor = noisy.clamp(min=limits[0], max=limits[1])
    return clipped


def flattened(boxes: Tensor, power: npt.NDArray[np.float64]) -> Tensor:
    """(n, z, y, x) boxes (even x) as cut from a flattened tomogram of (n, shells) `expected_power`."""
    shape = (int(boxes.shape[1]), int(boxes.shape[2]), int(boxes.shape[3]))
    spectrum = torch.fft.rfftn(boxes, dim=(1, 2, 3)) * torch.from_numpy(flattening(power, shape))
    flat: Tensor = torch.fft.irfftn(spectrum, s=shape, dim=(1, 2, 3)).clamp(min=-LIMIT, max=LIMIT)
    return flat


def expected_power(
    microscopes: Microscopes, signal_power: Tensor, *, particle_variance: Tensor, volume_variance: Tensor
) -> npt.NDArray[np.float64]:
    """(n, shells) mean power, by shell of `preprocess.spectrum`, of the tomograms that crops of `image` stand for.

    Parameters
    ----------
    signal_power
        ([n,] TABLE_STEPS) of `radial_power`: of what the tomograms hold.
    particle_variance, volume_variance
        As `image` takes them; contrast gain and clipping are left out.
    """
    shape = _shape(microscopes.noise)
    density = signal_power[..., torch.from_numpy(shell_of(shape, TABLE_STEPS))]
    noise = power_by_shell(microscopes.noise.square().numpy(), shape)
    signal = power_by_shell((microscopes.signal.square() * density).numpy(), shape)
    noise *= ((particle_variance / microscopes.snr).numpy() / variance(noise, shape))[:, None]
    signal *= (volume_variance.numpy() / variance(signal, shape))[:, None]
    return (noise + signal) / variance(noise + signal, shape)[:, None]  # `image` scales to s.d. 1


def white_spectrum(shape: tuple[int, ...], generator: np.random.Generator) -> Tensor:
    """(n, z, y, x // 2 + 1) spectrum whose `irfftn` is white noise of variance 1 (x even): saves a forward FFT."""
    count, z, y, x = shape
    parts = generator.standard_normal((count, z, y, x // 2 + 1, 2), dtype=np.float32)
    spectrum = torch.view_as_complex(torch.from_numpy(parts))
    # of the two self-conjugate planes the inverse keeps the real part only: half of their variance
    spectrum[..., 0] *= np.sqrt(2)
    spectrum[..., -1] *= np.sqrt(2)
    return spectrum * float(np.sqrt(z * y * x / 2))


def low_pass(volumes: Tensor, cycles_per_voxel: float) -> Tensor:
    """Gaussian low-pass of (n, z, y, x) volumes, 1/2 at ``cycles_per_voxel``."""
    shape = (int(volumes.shape[1]), int(volumes.shape[2]), int(volumes.shape[3]))
    squared = torch.from_numpy(frequency(shape)).square()
    transfer = torch.exp(-np.log(2) * squared / cycles_per_voxel**2)
    smooth: Tensor = torch.fft.irfftn(torch.fft.rfftn(volumes, dim=(1, 2, 3)) * transfer, s=shape, dim=(1, 2, 3))
    return smooth


def _signal_table(voxel_size: float, ranges: ImagingRanges, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    relative = _table_frequency() / 0.5
    envelope = np.exp(-generator.uniform(*ranges.envelope) * relative**2)
    contrast, defocus = generator.uniform(*ranges.amplitude_contrast), generator.uniform(*ranges.defocus_um)
    flip = generator.uniform() < ranges.phase_flip_probability
    if generator.uniform() < ranges.ctf_probability:
        ctf = _ctf(_table_frequency() / voxel_size, defocus, contrast, ranges)
        envelope = envelope * (np.abs(ctf) if flip else ctf)
    return envelope.astype(np.float32)


def _ctf(
    frequency: npt.NDArray[np.float64], defocus_um: float, amplitude_contrast: float, ranges: ImagingRanges
) -> npt.NDArray[np.float64]:
    """CTF over spatial frequency in 1/A, positive at low frequency (bright particles)."""
    volts = ranges.voltage_kv * 1e3
    wavelength = 12.2643 / np.sqrt(volts * (1 + 0.978466e-6 * volts))
    squared = frequency**2
    phase = np.pi * wavelength * squared * (defocus_um * 1e4 - 0.5 * ranges.cs_mm * 1e7 * wavelength**2 * squared)
    return np.asarray(np.sin(phase + np.arcsin(amplitude_contrast)))


def _noise_table(ranges: ImagingRanges, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    relative = _table_frequency() / 0.5
    fall = np.exp(-generator.uniform(*ranges.noise_slope) * relative**2)
    rise = generator.uniform(*ranges.noise_rise) * np.exp(-((relative / generator.uniform(0.05, 0.3)) ** 2))
    return (fall + rise).astype(np.float32)


def _soft_table(ranges: ImagingRanges, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    relative = _table_frequency() / 0.5
    return np.asarray(np.exp(-generator.uniform(*ranges.soft_filter) * relative**2), dtype=np.float32)


def _ramp(shape: Shape, power: float) -> npt.NDArray[np.float32]:
    """Noise amplitude by distance from the tilt axis y; never quite zero, as sampling is finite."""
    fz, _, fx = _axes(shape)
    distance = np.maximum(np.sqrt(fz**2 + fx**2), 1 / max(shape)) / 0.5
    return np.asarray(distance**power, dtype=np.float32)


def _tilt_weight(shape: Shape, exponent: float) -> npt.NDArray[np.float32]:
    """``cos(tilt) ** exponent`` of the projection that each frequency comes from."""
    fz, _, fx = _axes(shape)
    across = np.maximum(np.abs(fx), 1e-6)
    return np.asarray((across / np.hypot(fz, across)) ** exponent, dtype=np.float32)


def _table_frequency() -> npt.NDArray[np.float64]:
    return np.asarray(np.arange(TABLE_STEPS) * (HIGHEST / (TABLE_STEPS - 1)), dtype=np.float64)


def _wedge(shape: Shape, tilt_max_deg: float, axis_deg: float) -> npt.NDArray[np.float32]:
    """1 where planes of tilts up to ``tilt_max_deg`` about y pass, 0 in the wedge around z, softened over a voxel."""
    fz, fy, fx = _axes(shape)
    angle = np.deg2rad(axis_deg)
    across = np.abs(np.cos(angle) * fx + np.sin(angle) * fy)
    inside = across * np.tan(np.deg2rad(tilt_max_deg)) - np.abs(fz)
    return np.asarray(np.clip(inside * max(shape) + 0.5, 0, 1), dtype=np.float32)


def _band(shape: Shape, limit: float | None) -> npt.NDArray[np.float32] | None:
    """Cube of frequencies that survives Fourier cropping to a coarser voxel, softened over a voxel."""
    if limit is None:
        return None
    fz, fy, fx = _axes(shape)
    parts = [np.clip((limit - np.abs(f)) * size + 0.5, 0, 1) for f, size in zip((fz, fy, fx), shape, strict=True)]
    return np.asarray(parts[0] * parts[1] * parts[2], dtype=np.float32)


def _axes(shape: Shape) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    z, y, x = shape
    fz, fy, fx = np.fft.fftfreq(z), np.fft.fftfreq(y), np.fft.rfftfreq(x)
    return (
        fz.astype(np.float32)[:, None, None],
        fy.astype(np.float32)[None, :, None],
        fx.astype(np.float32)[None, None, :],
    )


def _shape(transfer: Tensor) -> Shape:
    """Of the crops (even x) that (n, z, y, x // 2 + 1) filters are for."""
    return int(transfer.shape[1]), int(transfer.shape[2]), 2 * (int(transfer.shape[3]) - 1)


def _stack(arrays: list[npt.NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False))
