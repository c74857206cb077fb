"""What may change in a view without changing what it shows: noise, filters, masked voxels (thesis, section 3.2.1)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cryoembed.config import Config
from cryoembed.rotations import matrices_zyx, random_rotations

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
    wedge_probability: float = Field(0.0, ge=0, le=1, description="of a second missing wedge, in any direction")
    wedge_half_angle_deg: Range = Field((20.0, 40.0), description="of the part that goes missing")
    crop_probability: float = Field(0.0, ge=0, le=1, description="boxes only: of losing what lies outside a sub-box")
    crop_share: Range = Field((0.0, 0.2), description="of the box that is removed; the thesis: up to 20 %")
    crop_mode: Literal["fill", "resize"] = Field("fill", description="the rest at its place and scale, or enlarged")


def augment(volumes: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Return transformed copies of (n, z, y, x) volumes: filter, noise, wedge, then masked voxels, each by chance.

    Cropping is left to `cropped`: it comes after a particle's mask.
    """
    volumes = filtered(volumes, config, generator)
    sigma = _per_sample(len(volumes), config.noise_sigma, config.noise_probability, generator)
    volumes = add_noise(volumes, sigma, generator)
    if config.wedge_probability:
        volumes = wedged(volumes, config, generator)
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


def wedged(volumes: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Take a wedge of random direction from the spectrum of each of (n, z, y, x) volumes, noise and all, by chance.

    Real tomograms have one wedge, along the beam: a second one elsewhere makes views that agree on the particle only.
    Mean and s.d. of each volume stay.
    """
    half_angle = _per_sample(len(volumes), config.wedge_half_angle_deg, config.wedge_probability, generator)
    frames = torch.from_numpy(matrices_zyx(random_rotations(len(volumes), generator)).astype(np.float32))
    result = volumes.clone()
    for row in torch.nonzero(half_angle).flatten().tolist():
        volume = volumes[row : row + 1]
        mean = volume.mean()
        transfer = wedge_transfer(tuple(volume.shape[1:]), float(half_angle[row]), frames[row])
        left = _apply(volume - mean, transfer[None])
        result[row] = (mean + left * (volume.std() / left.std().clamp(min=1e-6)))[0]
    return result


def wedge_transfer(shape: tuple[int, ...], half_angle_deg: float, frame: Tensor) -> Tensor:
    """(z, y, x // 2 + 1) of 0 in the wedge of ``half_angle_deg`` around the beam ``frame[0]``, 1 outside, soft between.

    ``frame`` holds beam, tilt axis and the direction across both as rows, each a zyx unit vector.
    """
    z, y, x = _frequencies((shape[0], shape[1], shape[2]))
    along, _, across = (
        axis[0] * z[:, None, None] + axis[1] * y[None, :, None] + axis[2] * x[None, None, :] for axis in frame
    )
    outside = across.abs() / np.tan(np.deg2rad(half_angle_deg)) - along.abs()
    transfer: Tensor = (outside * max(shape) + 0.5).clamp(0, 1)
    return transfer


def cropped(boxes: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Keep a random sub-box of each of (n, z, y, x) boxes, by chance (thesis, section 3.2.1: "up to 20 % is removed").

    The thesis does not say what becomes of the removed part: it is filled with 0, the mean of a prepared tomogram, so
    that sizes stay true; ``crop_mode: resize`` enlarges the rest to the whole box instead.
    """
    if not config.crop_probability:
        return boxes
    edge = boxes.shape[-1]
    share = _per_sample(len(boxes), config.crop_share, config.crop_probability, generator).numpy()
    kept = np.maximum(np.ceil((1 - share) ** (1 / 3) * edge).astype(int), 1)
    starts = generator.integers(0, (edge - kept + 1)[:, None], size=(len(boxes), 3))
    result = torch.zeros_like(boxes)
    for box, target, size, start in zip(boxes, result, kept.tolist(), starts.tolist(), strict=True):
        part = tuple(slice(first, first + size) for first in start)
        if config.crop_mode == "fill":
            target[part] = box[part]
        else:
            inner = box[part][None, None]
            target[:] = F.interpolate(inner, size=(edge, edge, edge), mode="trilinear", align_corners=False)[0, 0]
    return result


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
