"""Atoms -> electrostatic potential over ice, in volts: five Gaussians an atom, less the ice that it displaces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.materials import ICE_POTENTIAL
from cryoembed.simulate.density.molecule import Molecule
from cryoembed.simulate.density.splat import splat

Array = npt.NDArray[np.float64]

# V A^2: h^2 / (2 pi m e). A scattering factor f(0) in A is the integral of a potential of 47.878 f V A^3 (Kirkland
# 2010, Advanced Computing in Electron Microscopy, appendix C).
POTENTIAL_PER_SCATTERING = 47.878
# A^3 of solvent that an atom displaces: Fraser, MacRae & Suzuki 1978 (J. Appl. Cryst. 11, 693), table 1; metals as in
# Svergun, Barberato & Koch 1995 (J. Appl. Cryst. 28, 768), table 1; Na, Cl and K by their ionic radii (Shannon 1976)
_VOLUMES = {1: 5.15, 6: 16.44, 7: 2.49, 8: 9.13, 11: 4.4, 12: 17.16, 15: 5.73, 16: 19.86, 17: 24.8, 19: 11.0, 20: 31.89,
            25: 9.20, 26: 7.99, 29: 8.78, 30: 9.85, 79: 12.47}  # fmt: skip
_FAINT = 0.15  # of the potential over vacuum: protein has 0.4 of it over ice, a CH2 group 0.3
_MEMORY = 6e9  # bytes of the potential's box, beyond which a coarser voxel is asked for


@dataclass(frozen=True, eq=False)
class Potential:
    """A molecule's potential over ice.

    Parameters
    ----------
    volts
        (n, n, n) float32; its centre of mass is at index ``n // 2`` (of what hardly differs from ice: that of
        the potential over vacuum).
    centre_zyx
        A: the centre in the file's frame.
    integral
        V A^3, of the atoms themselves.
    """

    volts: npt.NDArray[np.float32]
    voxel_size: float
    centre_zyx: Array
    integral: float


def potential(
    molecule: Molecule,
    voxel_size: float,
    *,
    sigma: float,
    box_vox: int | None = None,
    solvent: bool = True,
    b_factors: bool = False,
) -> Potential:
    """Electrostatic potential of a molecule in ice, limited in resolution and integrated over voxels.

    As SHREC 2021 (section 2.1): a sum of five Gaussians an atom (Peng, Ren, Dudarev & Whelan 1996; International Tables
    C, table 4.3.2.2), less a Gaussian of each atom's excluded volume times the potential of ice (Fraser, MacRae &
    Suzuki 1978). Hydrogens that the file leaves out are added at the atoms which bear them.

    Parameters
    ----------
    voxel_size
        A.
    sigma
        A: s.d. of the Gaussian that limits the resolution (`atoms.sigma_of_resolution`).
    box_vox
        Edge of the box; None takes the smallest odd one that holds the molecule in any orientation.
    solvent
        Subtract the displaced ice. Off, the potential is over vacuum.
    b_factors
        Blur every atom by its B-factor, too.

    Raises
    ------
    InputError
        If the molecule has no positive potential, or the box is smaller than it or too large for the memory.
    """
    weights, widths = _gaussians(molecule, sigma, solvent=solvent, b_factors=b_factors)
    strengths = weights.sum(axis=1)
    integral, own = _moment(molecule, strengths)
    total, over_vacuum = _moment(molecule, weights[:, :-1].sum(axis=1))
    if not (total > 0 and integral > 0):
        raise InputError(f"the atoms' potential sums to {integral:.3g} V A^3; expected a molecule denser than ice")
    # a position is the centre of the density that is drawn; of a sum near zero that could lie anywhere
    centre = own / integral if integral > _FAINT * total else over_vacuum / total
    reach = max(float(np.linalg.norm(positions - centre, axis=1).max()) for _, positions in molecule.blocks())
    needed = 2 * int(np.ceil((reach + 3 * sigma) / voxel_size)) + 1
    size = needed if box_vox is None else box_vox
    if size < needed:
        raise InputError(f"a box of {size} voxels is smaller than the molecule; give at least {needed}")
    if size**3 * 12 > _MEMORY:
        raise InputError(
            f"a box of {size}^3 voxels of {voxel_size} A needs {size**3 * 12 / 1e9:.0f} GB; choose a larger voxel size"
        )
    volts = np.zeros((size,) * 3)
    for rows, positions in molecule.blocks():
        splat(positions - centre, weights[rows], size, voxel_size, widths[rows], out=volts)
    return Potential((volts / voxel_size**3).astype(np.float32), voxel_size, centre, integral)


def _moment(molecule: Molecule, strengths: Array) -> tuple[float, Array]:
    """Sum and first moment (zyx, A) of the atoms' strengths over all copies."""
    total, moment = 0.0, np.zeros(3)
    for rows, positions in molecule.blocks():
        total += float(strengths[rows].sum())
        moment += strengths[rows] @ positions
    return total, moment


@cache
def scattering(number: int) -> tuple[Array, Array]:
    """Amplitudes a (A) and widths b (A^2) of an element's five Gaussians: f(s) = sum a exp(-b s^2), s = sin / lambda."""
    import gemmi

    coefficients = gemmi.Element(number).c4322
    if coefficients is not None and sum(coefficients.a) > 0:
        return np.array(coefficients.a), np.array(coefficients.b)
    carbon = gemmi.Element(6).c4322  # beyond the table: as carbon, by the number of electrons
    return np.array(carbon.a) * number / 6, np.array(carbon.b)


def excluded_volume(numbers: npt.NDArray[np.intp]) -> Array:
    """A^3 of solvent that atoms displace; elements without a published volume fill their van der Waals sphere."""
    import gemmi

    table = {
        number: _VOLUMES.get(number, 4 / 3 * np.pi * gemmi.Element(number).vdw_r ** 3)
        for number in set(numbers.tolist())
    }
    return np.array([table[number] for number in numbers.tolist()])


def _gaussians(molecule: Molecule, sigma: float, *, solvent: bool, b_factors: bool) -> tuple[Array, Array]:
    """(n, 7) integrals (V A^3) and s.d. (A): the element's five, the hydrogens' mean, the displaced ice (last)."""
    numbers = sorted(set(molecule.elements.tolist()))
    place = np.searchsorted(numbers, molecule.elements)
    amplitudes, widths = (np.array(part)[place] for part in zip(*map(scattering, numbers), strict=True))
    hydrogen, hydrogen_b = scattering(1)
    volumes = excluded_volume(molecule.elements) + 5.15 * molecule.hydrogens
    counts = molecule.amounts
    integrals = np.column_stack(
        [
            POTENTIAL_PER_SCATTERING * amplitudes * counts[:, None],
            POTENTIAL_PER_SCATTERING * hydrogen.sum() * molecule.hydrogens * counts,
            -ICE_POTENTIAL * volumes * counts * solvent,
        ]
    )
    # exp(-b s^2) is a Gaussian of variance b / (8 pi^2); a hydrogen lies about 1 A from its atom (1/3 A^2 along an axis)
    of_b = 1 / (8 * np.pi**2)
    thermal = sigma**2 + (molecule.b_factors * of_b if b_factors else 0.0) + np.zeros(len(counts))
    mean_b = float(hydrogen @ hydrogen_b / hydrogen.sum())
    variances = np.column_stack([widths * of_b, np.full(len(counts), mean_b * of_b + 1 / 3), _ball(volumes)])
    return integrals, np.sqrt(variances + thermal[:, None])


def _ball(volumes: Array) -> Array:
    """Variance of the Gaussian exp(-pi r^2 / V^(2/3)), whose integral is V (Fraser et al. 1978)."""
    return np.asarray(volumes ** (2 / 3) / (2 * np.pi))
