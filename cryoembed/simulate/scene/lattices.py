"""Microtubules and F-actin as lattices of subunits along a path: pseudo-atoms built in, or copies of a template."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.paths import Path, Points, rotations_of
from cryoembed.simulate.scene.strand import Strand

Numbers = npt.NDArray[np.float64]  # (n,)
TUBULIN_KDA = 55.0  # a monomer; the dimer is 110
DIMER_RISE = 82.0  # A along a protofilament (Zhang et al. 2015, Cell 162:849: 81.5 GDP to 83.1 GMPCPP)
PROTOFILAMENT_WIDTH = 51.5  # A between neighbours (Chretien and Wade 1991, Biol. Cell 71:161; 106.6 A radius for 13)
_STAGGER = 3 * DIMER_RISE / 2 / 13  # A per protofilament: three monomers a turn close 13 protofilaments untwisted
STARTS = {10: 3, 11: 3, 12: 3, 13: 3, 14: 3, 15: 4}  # the common lattices (Chretien and Wade 1991)
ACTIN_KDA = 42.0
ACTIN_RISE = 27.3  # A
ACTIN_TWIST_DEG = -166.7

# F-actin's subunit about its axis (x, y, z in A and share of the mass): 16 means of the atoms of PDB 2ZWH
# (Oda et al. 2009, Nature 457:441), which stands on the filament's axis
_ACTIN = (
    (21.8, 22.2, -8.2, 0.091), (11.1, -17.2, -15.5, 0.063), (13.2, -13.4, 20.4, 0.044), (12.5, 7.0, -5.9, 0.067),
    (28.8, 2.9, -1.4, 0.064), (18.3, -9.2, -1.8, 0.064), (33.8, 11.9, -10.8, 0.062), (8.9, -4.3, -20.9, 0.063),
    (2.4, -9.3, -2.4, 0.063), (21.2, -5.1, -17.0, 0.057), (16.3, 11.1, 8.2, 0.071), (17.5, 10.6, 24.6, 0.070),
    (31.5, 14.7, 5.9, 0.052), (2.0, -10.8, 15.0, 0.041), (11.6, -2.6, 13.1, 0.060), (6.6, -22.6, 7.1, 0.068),
)  # fmt: skip
_ACTIN_BLUR = 4.5  # A, root mean square distance of the atoms from their mean, per axis
ACTIN_RADIUS = 40.0  # A, of its tube
# a tubulin monomer is an ellipsoid of 65 A (radial) x 46 A x 40 A (Nogales et al. 1998, Nature 391:199)
WALL = 65.0  # A
_TUBULIN_SEMI = (20.0, 23.0, WALL / 2)  # z, y (tangential), x (radial)
_TUBULIN_LATTICE = 7.0  # A between its pseudo-atoms


def microtubule_lattice(length: float, protofilaments: int) -> tuple[Numbers, Numbers]:
    """Phases (rad) and heights (A) of the dimers' centres along ``length`` A of a microtubule.

    Going round (from x to y) each protofilament stands lower by the stagger, so the helix of monomers is left-handed.
    Lattices that three starts do not close lean their protofilaments (Chretien and Wade 1991): 12 and 15 wind to the
    right, 14 to the left, 13 run straight.
    """
    _check_protofilaments(protofilaments)
    lean = (STARTS[protofilaments] * DIMER_RISE / 2 / protofilaments - _STAGGER) / PROTOFILAMENT_WIDTH
    columns = np.arange(protofilaments)
    rise = DIMER_RISE * np.cos(np.arctan(lean))
    drop = STARTS[protofilaments] * DIMER_RISE / 2 / protofilaments
    rows = np.arange(np.ceil(length / rise) + 3)
    heights = rise * (rows[:, None] + 0.5) - (drop * columns[None, :]) % rise
    phases = 2 * np.pi * columns[None, :] / protofilaments + heights * lean / microtubule_radius(protofilaments)
    inside = (heights >= DIMER_RISE / 2) & (heights <= length - DIMER_RISE / 2)
    return np.asarray(phases[inside], dtype=np.float64), np.asarray(heights[inside], dtype=np.float64)


def microtubule_radius(protofilaments: int) -> float:
    """A from the axis to the middle of the wall."""
    _check_protofilaments(protofilaments)
    return PROTOFILAMENT_WIDTH * protofilaments / (2 * np.pi)


def actin_lattice(length: float) -> tuple[Numbers, Numbers]:
    """Phases (rad) and heights (A) of the subunits along ``length`` A of F-actin."""
    index = np.arange(int(np.floor((length - ACTIN_RISE) / ACTIN_RISE + 1e-9)) + 1)
    return np.asarray(np.deg2rad(ACTIN_TWIST_DEG) * index), np.asarray(ACTIN_RISE * (index + 0.5))


def microtubule(path: Path, *, protofilaments: int = 13, subunit: Template | None = None) -> Strand:
    """A microtubule along a path; the tube with its lumen is its own, the wall alone is of its class."""
    phases, heights = microtubule_lattice(path.length, protofilaments)
    radius = microtubule_radius(protofilaments)
    outer, inner = radius + WALL / 2, radius - WALL / 2
    if subunit is not None:
        return _of_copies("microtubule", path, phases, heights, radius, subunit, outer, inner)
    atoms, shares, blur = _tubulin()
    dimer = np.concatenate([atoms + np.array([side * DIMER_RISE / 4, 0, radius]) for side in (-1, 1)])
    masses = np.concatenate([shares, shares]) * TUBULIN_KDA
    return _of_atoms("microtubule", path, phases, heights, dimer, masses, outer, blur, inner)


def actin(path: Path, *, subunit: Template | None = None) -> Strand:
    """F-actin along a path."""
    phases, heights = actin_lattice(path.length)
    table = np.array(_ACTIN)
    if subunit is not None:
        centre = float(np.linalg.norm(np.average(table[:, :2], axis=0, weights=table[:, 3])))
        return _of_copies("actin", path, phases, heights, centre, subunit, ACTIN_RADIUS, 0.0)
    masses = table[:, 3] / table[:, 3].sum() * ACTIN_KDA
    return _of_atoms("actin", path, phases, heights, table[:, 2::-1], masses, ACTIN_RADIUS, _ACTIN_BLUR, 0.0)


def _of_atoms(
    label: str,
    path: Path,
    phases: Numbers,
    heights: Numbers,
    atoms: Points,
    masses: Numbers,
    radius: float,
    blur: float,
    lumen: float,
) -> Strand:
    _check_some(label, path, phases)
    origins, frames = path.at(heights, phases)
    placed = origins[:, None, :] + np.einsum("nij,kj->nki", frames, atoms)
    return Strand(label, path, placed.reshape(-1, 3), np.tile(masses, len(phases)), radius, blur, lumen)


def _of_copies(
    label: str,
    path: Path,
    phases: Numbers,
    heights: Numbers,
    off_axis: float,
    subunit: Template,
    radius: float,
    lumen: float,
) -> Strand:
    _check_some(label, path, phases)
    origins, frames = path.at(heights, phases)
    centres = origins + off_axis * frames[:, :, 2]
    copies = (subunit, centres, rotations_of(frames))
    return Strand(label, path, np.zeros((0, 3)), np.zeros(0), radius, 0.0, lumen, copies)


def _tubulin() -> tuple[Points, Numbers, float]:
    """Pseudo-atoms of a monomer (zyx about its centre), their shares, their own blur."""
    reach = [np.arange(-5, 6) * _TUBULIN_LATTICE] * 3
    points = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[((points / _TUBULIN_SEMI) ** 2).sum(axis=1) <= 1]
    # the ridges that helices H11 and H12 make outside
    weights = 1 + 0.3 * points[:, 2] / _TUBULIN_SEMI[2]
    points = points - np.average(points, axis=0, weights=weights)
    return points, weights / weights.sum(), 0.4 * _TUBULIN_LATTICE


def _check_protofilaments(number: int) -> None:
    if number not in STARTS:
        raise InputError(f"a microtubule of {number} protofilaments; expected 10 to 15")


def _check_some(label: str, path: Path, phases: Numbers) -> None:
    if len(phases) == 0:
        raise InputError(f"{label} of {path.length:.0f} A is shorter than one subunit; make it longer")
