"""A sample with its truth: what `pack` and `compose` make, and the checks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from cryoembed import geometry
from cryoembed.errors import InputError
from cryoembed.particles import FIDUCIAL, Particles, is_molecule
from cryoembed.simulate.density.template import Mask, Volume

# classes that are no species, in the order of their class numbers
STRUCTURES = ("vesicle", "membrane", "microtubule", "actin", "dna", "mrna", "nucleosome", FIDUCIAL)


@dataclass(frozen=True, eq=False)
class Scene:
    """A sample before imaging, with its truth.

    Parameters
    ----------
    density
        (z, y, x) float32; particles bright on 0 (solvent).
    class_mask
        (z, y, x) int16; 0 background, else 1 + index into ``classes``.
    occupancy_mask
        (z, y, x) int32; 0 background, else 1 + row in ``particles``.
    particles
        Rows in order of placing (the largest first), positions in A of each centre of mass, rotations (NaN for
        all that is no molecule), ``label``, ``mass_kda`` (NaN for those), ``instance`` (the occupancy id).
    classes
        Labels in order of their class number.
    crowding
        Volume fraction inside the masks of macromolecules.
    missed
        Label -> how many asked-for particles found no place.
    sample_mask
        (z, y, x) bool, where ice or sample is; None: everywhere.
    cell_mask
        (z, y, x) bool, where the cell is; None where the sample is no cell.
    filaments
        One row per point of every filament: ``instance``, ``label``, ``point`` (along the filament), ``z, y, x`` in A.
    """

    density: Volume
    class_mask: npt.NDArray[np.int16]
    occupancy_mask: npt.NDArray[np.int32]
    particles: Particles
    classes: tuple[str, ...]
    voxel_size: float
    crowding: float
    missed: Mapping[str, int] = field(default_factory=dict)
    sample_mask: Mask | None = None
    cell_mask: Mask | None = None
    filaments: pd.DataFrame | None = None

    @property
    def is_macromolecule(self) -> npt.NDArray[np.bool_]:
        """(n,) rows that are particles with an orientation: no vesicles, membranes, filaments or gold."""
        return is_molecule(self.particles.labels)

    def macromolecule_mask(self) -> Mask:
        """(z, y, x) voxels that belong to a macromolecule."""
        keep = np.concatenate([[False], self.is_macromolecule])
        return np.asarray(keep[self.occupancy_mask], dtype=np.bool_)

    def mask_of(self, label: str) -> Mask:
        """(z, y, x) voxels of one class; nothing for a structure (`STRUCTURES`) that this scene has none of."""
        if label not in (*self.classes, *STRUCTURES):
            raise InputError(f"scene: no class {label!r}; it has {', '.join(self.classes)}")
        if label not in self.classes:
            return np.zeros(self.class_mask.shape, dtype=np.bool_)
        return np.asarray(self.class_mask == self.classes.index(label) + 1, dtype=np.bool_)

    @property
    def lamella_mask(self) -> Mask:
        """(z, y, x) material against emptiness: inside the cell if there is one, else where ice is."""
        if self.cell_mask is not None:
            return self.cell_mask
        return np.ones(self.class_mask.shape, dtype=np.bool_) if self.sample_mask is None else self.sample_mask


def shortfall(scene: Scene, crowding: float | None) -> str | None:
    """What a scene lacks of what was asked, in words; None if nothing (a particle's volume below is nothing)."""
    if scene.missed:
        lacking = ", ".join(f"{count} {name}" for name, count in scene.missed.items())
        return f"no place was found for {lacking}; the volume is filled to {scene.crowding:.3f}"
    if crowding is not None and scene.crowding < 0.95 * crowding:
        return f"crowding {crowding:.3f} can't be reached: {scene.crowding:.3f} was; ask for less, or smaller species"
    return None


def truth_is_consistent(scene: Scene) -> npt.NDArray[np.bool_]:
    """(n,) whether each row's own id stands in the occupancy mask at the voxel nearest to its position.

    True of every particle and bead (`particles.is_particle`); a vesicle's centre is its lumen, where others may be.
    """
    nearest = geometry.nearest_voxel(geometry.angstrom_to_voxel(scene.particles.positions_zyx, scene.voxel_size))
    inside = np.all((nearest >= 0) & (nearest < scene.occupancy_mask.shape), axis=1)
    ids = np.zeros(len(nearest), dtype=np.int64)
    ids[inside] = scene.occupancy_mask[tuple(nearest[inside].T)]
    return np.asarray(ids == np.arange(1, len(nearest) + 1), dtype=np.bool_)
