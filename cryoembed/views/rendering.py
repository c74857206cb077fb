"""Templates on a fine grid, turned and shifted into small boxes: a fresh orientation for every subtomogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from cryoembed.rotations import matrices_zyx, random_rotations
from cryoembed.simulate.density.template import Template

OVERSAMPLING = 2  # linear interpolation is accurate enough on a grid twice as fine as the boxes


@dataclass(frozen=True, eq=False)
class FineTemplate:
    """A template's density at ``voxel_size / OVERSAMPLING``, float16, its radius in voxels of the boxes, its mass."""

    density: Tensor
    radius_vox: float
    mass_kda: float

    @property
    def cube_vox(self) -> int:
        """Odd edge of the cube that holds the particle in any orientation and sub-voxel position."""
        return 2 * int(np.ceil(self.radius_vox) + 2) + 1


def fine_template(template: Template, voxel_size: float) -> FineTemplate:
    """Keep a template made at ``voxel_size / OVERSAMPLING`` A (checked)."""
    if not np.isclose(template.voxel_size * OVERSAMPLING, voxel_size, rtol=1e-3):
        raise ValueError(
            f"template {template.name}: {template.voxel_size} A voxels, expected {voxel_size / OVERSAMPLING} A"
        )
    return FineTemplate(torch.from_numpy(template.density).half(), template.radius / voxel_size, template.mass_kda)


def render(template: FineTemplate, generator: np.random.Generator, shift_zyx_vox: npt.NDArray[np.float64]) -> Tensor:
    """Draw a rotation and return an (m, m, m) float32 cube with the centre of mass at index ``m // 2 + shift``."""
    size = template.cube_vox
    matrix = torch.from_numpy(matrices_zyx(random_rotations(1, generator))[0].astype(np.float32))
    offsets = torch.arange(size, dtype=torch.float32) - size // 2
    shift = torch.from_numpy(np.asarray(shift_zyx_vox, dtype=np.float32))
    # a voxel at offset r shows the template at R^T (r - shift); sums over the axes, not a product of all voxels
    parts = [(offsets - shift[axis])[:, None] * matrix[axis][None] for axis in range(3)]
    source = parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None, :]
    fine = template.density.float()[None, None]
    half = (fine.shape[-1] - 1) / 2
    centre = fine.shape[-1] // 2
    grid = (source * OVERSAMPLING + centre - half) / half
    turned: Tensor = F.grid_sample(fine, grid.flip(-1)[None], align_corners=True, padding_mode="zeros")
    return turned[0, 0]


def paste(box: Tensor, cube: Tensor, centre_zyx: npt.NDArray[np.int64]) -> None:
    """Add a cube to a box in place, its index ``m // 2`` at ``centre_zyx``; what sticks out is left out."""
    inside_box, inside_cube = [], []
    for centre, size, limit in zip(centre_zyx, cube.shape, box.shape, strict=True):
        start = int(centre) - size // 2
        low, high = max(start, 0), min(start + size, limit)
        if high <= low:
            return
        inside_box.append(slice(low, high))
        inside_cube.append(slice(low - start, high - start))
    box[tuple(inside_box)] += cube[tuple(inside_cube)]
