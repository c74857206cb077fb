"""A filament or a pose on the canvas: density, masks, its row and its path, once its place is known to be free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryoembed import geometry
from cryoembed.particles import QUATERNION
from cryoembed.simulate.density.atoms import sigma_of_resolution
from cryoembed.simulate.density.template import MASK_THRESHOLD, Template, occupied, rotate
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.paths import Path, Points
from cryoembed.simulate.scene.search import block_around
from cryoembed.simulate.scene.tubes import add_atoms, paint_tube

_TRACE = 10.0  # A between the points of a path in the truth


@dataclass(frozen=True, eq=False)
class Strand:
    """A filament: its path, its mass as pseudo-atoms or as copies of a template, and the tube it occupies.

    Parameters
    ----------
    atoms
        (n, 3) zyx in A; ``masses`` (n,) in kDa; ``blur`` the s.d. in A of each one's own extent.
    radius
        A, of the tube that belongs to it.
    lumen
        A; the tube inside this radius is its own (nothing else is packed there) but not of its class.
    subunits
        A template and where its copies stand: (m, 3) zyx in A, and their rotations.
    """

    label: str
    path: Path
    atoms: Points
    masses: npt.NDArray[np.float64]
    radius: float
    blur: float = 0.0
    lumen: float = 0.0
    subunits: tuple[Template, Points, Rotation] | None = None

    @property
    def mass_kda(self) -> float:
        """Of the whole filament, also of what a face of the volume cuts off."""
        copies = 0.0 if self.subunits is None else self.subunits[0].mass_kda * len(self.subunits[1])
        return float(self.masses.sum()) + copies


def add_copies(density: npt.NDArray[np.float32], template: Template, positions: Points, rotations: Rotation) -> None:
    """Add a template's copies at positions (n, 3) A, exact to a fraction of a voxel."""
    for position, rotation in zip(positions / template.voxel_size, rotations, strict=True):
        nearest = np.floor(position + 0.5).astype(np.int64)
        slices = geometry.box_slices(tuple(nearest - template.box_vox // 2), (template.box_vox,) * 3, density.shape)
        if slices is not None:
            density[slices[0]] += rotate(template, rotation, position - nearest)[slices[1]]


def write_strand(canvas: Canvas, strand: Strand, resolution: float, *, pieces: Sequence[Path] | None = None) -> None:
    """Write a strand whose tube is known to be free: density, masks, a row at its mid-point, its path.

    Parameters
    ----------
    resolution
        A, of the density (as of every species).
    pieces
        The parts of the path that are this object's; None: all of it.
    """
    add_atoms(canvas.density, strand.atoms, strand.masses, canvas.voxel_size, _sigma(strand, resolution, canvas))
    if strand.subunits is not None:
        add_copies(canvas.density, *strand.subunits)
    own = [strand.path] if pieces is None else pieces
    middle = mid_point(own, canvas.shape, canvas.voxel_size)
    row = {**dict(zip("zyx", middle, strict=True)), "label": strand.label, "mass_kda": strand.mass_kda}
    canvas.rows.append(row)
    canvas.paths.append((len(canvas.rows), strand.label, _traced(strand.path)))
    label_id = canvas.label_id(strand.label)
    for piece in own:
        paint_tube(canvas.occupancy, piece, strand.radius, canvas.voxel_size, len(canvas.rows))
        paint_tube(canvas.class_mask, piece, strand.radius, canvas.voxel_size, label_id, lumen=strand.lumen)
        paint_tube(canvas.blocked, piece, strand.radius + canvas.gap * canvas.voxel_size, canvas.voxel_size, True)


def write_particle(canvas: Canvas, template: Template, position: Points, rotation: Rotation) -> None:
    """Write a particle at a pose (zyx, A) known to be free; voxels that a string through it has taken stay the string's."""
    nearest = np.floor(position / canvas.voxel_size + 0.5).astype(np.int64)
    density = rotate(template, rotation, position / canvas.voxel_size - nearest)
    centre = template.box_vox // 2
    mask = occupied(density, template.interior * MASK_THRESHOLD, (centre,) * 3, template.voxel_size)
    voxels = np.argwhere(mask) - centre + nearest
    voxels = voxels[np.all((voxels >= 0) & (voxels < canvas.shape), axis=1)]
    voxels = voxels[canvas.occupancy[tuple(voxels.T)] == 0]
    slices = geometry.box_slices(tuple(nearest - centre), density.shape, canvas.shape)
    if slices is not None:
        canvas.density[slices[0]] += density[slices[1]]
    row = {**dict(zip("zyx", position, strict=True)), **dict(zip(QUATERNION, rotation.as_quat(), strict=True))}
    canvas.rows.append({**row, "label": template.name, "mass_kda": template.mass_kda})
    index = tuple(voxels.T)
    canvas.occupancy[index] = len(canvas.rows)
    canvas.class_mask[index] = canvas.label_id(template.name)
    canvas.blocked[index] = True
    if canvas.gap > 0:
        block_around(canvas.blocked, voxels, canvas.gap)
    canvas.filled += len(voxels)


def mid_point(pieces: Sequence[Path], shape: tuple[int, int, int], voxel_size: float) -> Points:
    """The point (zyx, A) halfway along the part of the pieces that lies inside the volume."""
    points = np.concatenate([piece.points for piece in pieces])
    nearest = np.floor(points / voxel_size + 0.5)
    inside = points[np.all((nearest >= 0) & (nearest < shape), axis=1)]
    return np.asarray(inside[len(inside) // 2], dtype=np.float64)


def _traced(path: Path) -> Points:
    """Points about 10 A apart, the ends among them."""
    every = max(1, round(_TRACE / path.spacing))
    rows = np.unique(np.append(np.arange(0, len(path.points), every), len(path.points) - 1))
    return np.asarray(path.points[rows], dtype=np.float64)


def _sigma(strand: Strand, resolution: float, canvas: Canvas) -> float:
    return float(np.hypot(sigma_of_resolution(resolution, canvas.voxel_size), strand.blur))
