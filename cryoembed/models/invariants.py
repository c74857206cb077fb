"""Rotation-invariant numbers of a box: products of spherical-harmonic coefficients between radial shells.

A density around the box centre is expanded in each shell s into real spherical harmonics, ``c[s, l, m]``. A rotation
mixes the m of one l by an orthogonal matrix, the same in every shell, so ``sum_m c[s, l, m] c[t, l, m]`` does not change:
for s = t the power spectrum of Kazhdan et al. (2003), for s != t how the shells lie relative to each other (the
cross terms of SOAP, Bartok et al. 2013, equation 31, with shells as the radial basis).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from scipy.special import sph_harm_y
from torch import Tensor, nn

from cryoembed.models.config import ShellConfig


class ShellInvariants(nn.Module):
    """Boxes to ``shells * (shells + 1) / 2 * (degree + 1)`` invariants, signed square roots, in float32.

    The square root brings products of coefficients back to the scale of the density, where their spread is
    even; the network's first normalisation does the rest. Nothing here is learned.
    """

    def __init__(self, config: ShellConfig, box_vox: int) -> None:
        super().__init__()
        self.config = config
        self.features = config.features
        voxels, weights = _expansion(box_vox, config.shells, config.degree, config.radius_vox or box_vox / 2)
        self._parts = len(voxels)
        for shell, (index, matrix) in enumerate(zip(voxels, weights, strict=True)):
            self.register_buffer(f"voxels_{shell}", torch.from_numpy(index), persistent=False)
            self.register_buffer(f"harmonics_{shell}", torch.from_numpy(matrix), persistent=False)
        first, second = np.triu_indices(config.shells)
        self.register_buffer("pairs", torch.from_numpy(np.stack([first, second])), persistent=False)

    def coefficients(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b shells harmonics"]:
        """Return the coefficients ``c[s, l * l + l + m]`` of the boxes about index ``n // 2``."""
        flat = x.float().flatten(1)
        parts = [
            flat[:, self.get_buffer(f"voxels_{s}")] @ self.get_buffer(f"harmonics_{s}") for s in range(self._parts)
        ]
        return torch.stack(parts, dim=1)

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b f"]:
        """Return the invariants of boxes."""
        with torch.autocast(x.device.type, enabled=False):
            found = self.coefficients(x)
            first, second = self.get_buffer("pairs")
            products = []
            for degree in range(self.config.degree + 1):
                part = found[:, :, degree * degree : (degree + 1) ** 2]
                products.append((part @ part.transpose(1, 2))[:, first, second])
            values = torch.cat(products, dim=1)
            return values.sign() * values.abs().sqrt()


def _expansion(
    box_vox: int, shells: int, degree: int, radius_vox: float
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.float32]]]:
    """Per shell the flat voxels it touches and their (voxels, harmonics) weights; shells overlap as linear splines."""
    offsets = np.indices((box_vox,) * 3).reshape(3, -1).T - box_vox // 2
    distance = np.linalg.norm(offsets, axis=1)
    z, y, x = offsets.T
    polar = np.arccos(np.clip(z / np.maximum(distance, 1e-9), -1, 1))
    azimuth = np.arctan2(y, x)
    width = radius_vox / shells
    voxels, weights = [], []
    for shell in range(shells):
        share = np.clip(1 - np.abs(distance - (shell + 0.5) * width) / width, 0, None)
        share[distance > radius_vox] = 0
        inside = np.flatnonzero(share)
        harmonics = _real_harmonics(degree, polar[inside], azimuth[inside])
        harmonics[distance[inside] == 0, 1:] = 0  # the centre has no direction
        # by the root of its voxels a shell's coefficients of white noise are all equally large
        scale = np.sqrt(4 * np.pi / np.square(share[inside]).sum())
        voxels.append(inside)
        weights.append((harmonics * share[inside, None] * scale).astype(np.float32))
    return voxels, weights


def _real_harmonics(
    degree: int, polar: npt.NDArray[np.float64], azimuth: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(n, (degree + 1)^2) orthonormal real spherical harmonics, column ``l * l + l + m``."""
    columns = []
    for l in range(degree + 1):  # noqa: E741 (the field's letter)
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), polar, azimuth)
            columns.append(value.real if m == 0 else np.sqrt(2) * (value.real if m > 0 else value.imag))
    return np.stack(columns, axis=1)
