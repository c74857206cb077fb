"""What may change in a view without changing what it shows: noise, filters, masked voxels (thesis, section 3.2.1)."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cryoembed.config import Config

Range = tuple[float, float]


class AugmentConfig(Config):
    """Ranges of the thesis' transformations (section 3.2.1, figure 7); each sample draws its own values.

    The filters exclude each other: with ``low_pass_probability`` a sample is smoothed, with ``high_pass_probability``
    sharpened, otherwise left.
    """

    noise_probability: float = Field(0.8, ge=0, le=1)
    noise_sigma: Range = (0.1, 0.5)
    low_pass_probability: float = Field(0.3, ge=0, le=1)
    low_pass_sigma: Range = (0.5, 2.0)
    high_pass_probability: float = Field(0.2, ge=0, le=1)
    high_pass_inner_sigma: Range = (0.1, 0.5)
    high_pass_outer_sigma: Range = (1.0, 1.5)
    mask_probability: float = Field(0.8, ge=0, le=1)
    mask_fraction: Range = (0.1, 0.5)


def augment(volumes: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Return transformed copies of (n, z, y, x) volumes: filter, then noise, then masked voxels, each by chance."""
    volumes = filtered(volumes, config, generator)
    sigma = _per_sample(len(volumes), config.noise_sigma, config.noise_probability, generator)
    volumes = add_noise(volumes, sigma, generator)
    fraction = _per_sample(len(volumes), config.mask_fraction, config.mask_probability, generator)
    return mask_voxels(volumes, fraction, generator)


def add_noise(volumes: Tensor, sigma: Tensor, generator: np.random.Generator) -> Tensor:
    """Add white Gaussian noise of s.d. ``sigma`` (n,) to (n, z, y, x) volumes."""
    noise = torch.from_numpy(generator.standard_normal(tuple(volumes.shape), dtype=np.float32))
    return volumes + sigma[:, None, None, None] * noise


def mask_voxels(volumes: Tensor, fraction: Tensor, generator: np.random.Generator) -> Tensor:
    """Set a random ``fraction`` (n,) of the voxels of each (n, z, y, x) volume to its mean, the least telling value."""
    chance = torch.from_numpy(generator.random(tuple(volumes.shape), dtype=np.float32))
    mean = volumes.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(chance < fraction[:, None, None, None], mean, volumes)


def gaussian_transfer(shape: tuple[int, int, int], sigma: Tensor) -> Tensor:
    """(n, z, y, x // 2 + 1) transfer functions of Gaussian filters with s.d. ``sigma`` (n,) voxels."""
    z, y, x = (torch.exp(-2 * (np.pi * sigma[:, None] * f) ** 2) for f in _frequencies(shape))
    return z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]


def filtered(volumes: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Low-pass, high-pass or leave each of (n, z, y, x) volumes.

    The high-pass is the difference of two Gaussians, scaled back to the s.d. the sample had, so that batch statistics
    do not depend on how many samples were sharpened.
    """
    count, shape = len(volumes), (int(volumes.shape[1]), int(volumes.shape[2]), int(volumes.shape[3]))
    choice = torch.from_numpy(generator.random(count))
    low = choice < config.low_pass_probability
    high = ~low & (choice < config.low_pass_probability + config.high_pass_probability)
    blur = _per_sample(count, config.low_pass_sigma, 1.0, generator)
    inner = _per_sample(count, config.high_pass_inner_sigma, 1.0, generator)
    outer = _per_sample(count, config.high_pass_outer_sigma, 1.0, generator)
    result = volumes.clone()
    if low.any():
        result[low] = _apply(volumes[low], gaussian_transfer(shape, blur[low]))
    if high.any():
        sharp = _apply(volumes[high], gaussian_transfer(shape, inner[high]) - gaussian_transfer(shape, outer[high]))
        before, after = (v.std(dim=(1, 2, 3), keepdim=True) for v in (volumes[high], sharp))
        result[high] = sharp * (before / after.clamp(min=1e-6))
    return result


def _apply(volumes: Tensor, transfer: Tensor) -> Tensor:
    shape = tuple(volumes.shape[1:])
    result: Tensor = torch.fft.irfftn(torch.fft.rfftn(volumes, dim=(1, 2, 3)) * transfer, s=shape, dim=(1, 2, 3))
    return result


def _frequencies(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    z, y, x = shape
    return torch.fft.fftfreq(z), torch.fft.fftfreq(y), torch.fft.rfftfreq(x)


def _per_sample(count: int, bounds: Range, probability: float, generator: np.random.Generator) -> Tensor:
    """(n,) uniform values, 0 where the transformation is left out."""
    values = generator.uniform(*bounds, size=count) * (generator.random(count) < probability)
    return torch.from_numpy(values.astype(np.float32))
