"""DNA, RNA and nucleosomes as pseudo-atoms: the double helix along any path, 147 bp round a histone octamer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.density.atoms import sigma_of_resolution, template_from_atoms
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Template
from cryoembed.simulate.scene.paths import Path, Points, smooth_path

BP_RISE = 3.32  # A
BP_PER_TURN = 10.5
BP_KDA = 0.65
DNA_RADIUS = 10.0  # A
DNA_PERSISTENCE = 500.0  # A
TWIST = 2 * np.pi / (BP_PER_TURN * BP_RISE)  # rad / A, right-handed
_PHOSPHATE = (8.91, np.deg2rad(95.2), 2.08)  # r, angle from the dyad, z (B-DNA; Arnott and Hukins 1973, JMB 81:93)
_BACKBONE_KDA = 0.18  # a phosphate with its sugar
BLUR = 2.5  # A, s.d. of a pseudo-atom's own extent
NT_RISE = 5.9  # A of single strand per nucleotide
NT_KDA = 0.32
RNA_RADIUS = 6.0
RNA_PERSISTENCE = 100.0  # A: bare RNA has 10-20 A, but an mRNA under ribosomes is held out
# nucleosome core particle: Richmond and Davey 2003, Nature 423:145; Luger et al. 1997, Nature 389:251
CORE_BP = 147
SUPERHELIX_RADIUS = 41.8
SUPERHELIX_PITCH = 25.9
SUPERHELIX_TURNS = 1.65
OCTAMER_KDA = 108.0
_OCTAMER_LATTICE = 7.0
_OCTAMER_HEIGHT = 60.0  # A


def double_helix(path: Path, phase: float = 0.0) -> tuple[Points, npt.NDArray[np.float64]]:
    """Pseudo-atoms (n, 3) zyx in A and their masses in kDa of double-stranded DNA along a path.

    Three per base pair: a backbone on either side, the bases on the axis. The frame's x points into the minor groove of
    the base pair there; ``phase`` (rad) turns it at the path's start, and it goes on by `TWIST`.
    """
    count = round(path.length / BP_RISE)
    arc = (np.arange(count) + 0.5) * path.length / max(count, 1)
    origins, frames = path.at(arc, phase + TWIST * arc)
    radius, angle, height = _PHOSPHATE
    local = np.array([[sign * height, sign * radius * np.sin(angle), radius * np.cos(angle)] for sign in (1, -1)])
    local = np.vstack([local, np.zeros((1, 3))])
    atoms = origins[:, None, :] + np.einsum("nij,kj->nki", frames, local)
    return atoms.reshape(-1, 3), np.tile([_BACKBONE_KDA, _BACKBONE_KDA, BP_KDA - 2 * _BACKBONE_KDA], count)


def single_strand(path: Path, phase: float = 0.0) -> tuple[Points, npt.NDArray[np.float64]]:
    """One pseudo-atom (zyx, A) per nucleotide of a stretched RNA, and their masses in kDa."""
    count = round(path.length / NT_RISE)
    arc = (np.arange(count) + 0.5) * path.length / max(count, 1)
    return path.at(arc)[0], np.full(count, NT_KDA)


def superhelix() -> tuple[Path, float]:
    """The DNA of a nucleosome in its own frame (superhelix axis z, dyad +x, octamer at the origin), and its first phase.

    A left-handed superhelix, then straight on at both ends: 1.65 turns take 131 of the 147 base pairs. The phase is such
    that the minor groove of the middle base pair looks outwards.
    """
    angle = np.linspace(-1, 1, 97) * np.pi * SUPERHELIX_TURNS
    nodes = np.stack(
        [
            -SUPERHELIX_PITCH * angle / (2 * np.pi),  # z falls as the angle grows from x to y: left-handed
            SUPERHELIX_RADIUS * np.sin(angle),
            SUPERHELIX_RADIUS * np.cos(angle),
        ],
        axis=1,
    )
    bent = np.linalg.norm(np.diff(nodes, axis=0), axis=1).sum()
    straight = np.array([0.5, 1.0])[:, None] * (CORE_BP * BP_RISE - bent) / 2
    before = nodes[0] - straight[::-1] * _unit(nodes[1] - nodes[0])
    after = nodes[-1] + straight * _unit(nodes[-1] - nodes[-2])
    path = smooth_path(np.concatenate([before, nodes, after]))
    middle = path.length / 2
    _, frame = path.at(middle)
    _, y, x = frame[0].T @ np.array([0.0, 0.0, 1.0])  # the dyad in the untwisted frame
    return path, float(np.arctan2(y, x) - TWIST * middle)


def nucleosome_atoms() -> tuple[Points, npt.NDArray[np.float64]]:
    """Pseudo-atoms and masses of a core particle: 147 bp and the octamer, four dimers on a left-handed ramp."""
    atoms, masses = double_helix(*superhelix())
    octamer = _octamer()
    shares = np.full(len(octamer), OCTAMER_KDA / len(octamer))
    return np.concatenate([atoms, octamer]), np.concatenate([masses, shares])


def nucleosome(voxel_size: float, *, resolution: float = 12.0, name: str = "nucleosome") -> Template:
    """A core particle as a species: 204 kDa, superhelix axis z, dyad +x (its centre of mass moved to the origin)."""
    atoms, masses = nucleosome_atoms()
    blurred = float(np.hypot(sigma_of_resolution(resolution, voxel_size), BLUR)) * np.pi * np.sqrt(2)
    return template_from_atoms(name, atoms, masses, voxel_size, float(masses.sum()), resolution=blurred, symmetry="C2")


def nucleosome_centre() -> Points:
    """(3,) zyx, A: the template's origin in the frame of `superhelix`."""
    atoms, masses = nucleosome_atoms()
    return np.asarray(np.average(atoms, axis=0, weights=masses), dtype=np.float64)


def _octamer() -> Points:
    """Four dimers of 27 kDa as balls along the inside of the superhelix, filled by a lattice to their joint volume."""
    turns = np.array([-0.51, -0.17, 0.17, 0.51])  # H2A-H2B, H3-H4 twice, H2A-H2B: middles of SHL 3.5-5.5 and 0.5-2.5
    angle = 2 * np.pi * turns
    centres = np.stack([-SUPERHELIX_PITCH * turns, 15 * np.sin(angle), 15 * np.cos(angle)], axis=1)
    reach = np.arange(-8, 9) * _OCTAMER_LATTICE
    points = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    near = np.linalg.norm(points[:, None] - centres, axis=2).min(axis=1)
    inside = np.hypot(points[:, 1], points[:, 2]) <= SUPERHELIX_RADIUS - DNA_RADIUS  # the DNA lies round it
    inside &= np.abs(points[:, 0]) <= _OCTAMER_HEIGHT / 2
    order = np.argsort(np.where(inside, near, np.inf), kind="stable")
    return np.asarray(points[order[: round(OCTAMER_KDA * DENSITY_PER_KDA / _OCTAMER_LATTICE**3)]], dtype=np.float64)


def _unit(vector: Points) -> Points:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)
