"""Atomic models (PDB, mmCIF) as arrays: which atoms count, and how heavy they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.density.assemblies import Copies, copies_of, operators, sequence_mass

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
_HYDROGEN = 1.00794
_WATER = 18.015
_BEAD_B = 200.0  # A^2: the spread of a whole residue that one atom stands for (s.d. 1.6 A)
_CARBON = 6
# waters of molecular dynamics (gemmi knows HOH and the like), and the planes that OPM draws where its membranes end
_NO_ATOMS = frozenset({"SOL", "TIP", "TIP3", "TIP4", "TP3", "SPC", "DUM"})


@dataclass(frozen=True, eq=False)
class Molecule:
    """Atoms of one structure, without water and dummies.

    Parameters
    ----------
    positions_zyx
        (n, 3) A, in the file's frame.
    elements
        (n,) atomic numbers.
    amounts
        (n,) how many such atoms are here: the occupancy; more where one atom stands for a residue (CA-only models).
    hydrogens
        (n,) hydrogens that the file leaves out, spread evenly over the residue's other atoms.
    b_factors
        (n,) A^2.
    copies
        Where the assembly has the atoms; one identity for what the file itself holds.
    mass_kda
        Of all copies, with the left-out hydrogens.
    sequence_kda
        Mass of the complete sequences (with what is not modelled), or None where the file gives none.
    """

    positions_zyx: Array
    elements: npt.NDArray[np.intp]
    amounts: Array
    hydrogens: Array
    b_factors: Array
    copies: tuple[Copies, ...]
    mass_kda: float
    sequence_kda: float | None

    def __len__(self) -> int:
        return sum(len(part.rows) * len(part.matrices_zyx) for part in self.copies)

    def blocks(self) -> Iterator[tuple[npt.NDArray[np.intp], Array]]:
        """Rows and positions of one copy after the other: a virus has 60, and all at once would fill the memory."""
        for part in self.copies:
            for matrix, shift in zip(part.matrices_zyx, part.shifts_zyx, strict=True):
                yield part.rows, self.positions_zyx[part.rows] @ matrix.T + shift


def read_molecule(path: Path, *, assembly: str | None = None, copies: int = 1) -> Molecule:
    """Atoms of the first model, ligands kept, water dropped; alternative places of an atom share its occupancy.

    Parameters
    ----------
    assembly
        A biological assembly of the file (REMARK 350, ``_pdbx_struct_assembly``), for instance "1"; None takes the
        atoms as they are in the file, with a note where an assembly would hold more.
    copies
        Without ``assembly``: an assembly of just so many operators is taken where there is one (60 for the asymmetric
        unit of a virus that is said to be icosahedral).

    Raises
    ------
    InputError
        If the file is unreadable, has no atoms (or none with an occupancy), or lacks the assembly.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"structure {path} is not readable: {str(error).splitlines()[0]}") from None
    if len(structure) == 0:
        raise InputError(f"structure {path}: no atoms; expected a PDB or mmCIF file with coordinates")
    if len(structure) > 1:
        logger.info("structure %s holds %d models; the first is taken", path, len(structure))
    structure.setup_entities()
    rows, chains, mass = _atoms(structure[0])
    if not rows:
        raise InputError(f"structure {path}: no atoms; expected a PDB or mmCIF file with coordinates")
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise InputError(f"structure {path}: an atom has a position or occupancy that is no number")
    if not table[:, 4].sum() > 0:
        raise InputError(f"structure {path}: the occupancies of all atoms are 0; mend the file")
    names = np.array(chains)
    if assembly is None and copies > 1:
        assembly = next((item.name for item in structure.assemblies if operators(item) == copies), None)
    parts = copies_of(structure, names, assembly, path)
    total = sum(len(part.matrices_zyx) * mass[part.rows].sum() for part in parts) / 1000
    return Molecule(
        positions_zyx=table[:, :3],
        elements=table[:, 3].astype(np.intp),
        amounts=table[:, 4],
        hydrogens=table[:, 5],
        b_factors=np.clip(table[:, 6], 0, 500),
        copies=parts,
        mass_kda=float(total),
        sequence_kda=sequence_mass(structure, names, parts),
    )


def _atoms(model: Any) -> tuple[list[tuple[float, ...]], list[tuple[str, str]], Array]:
    """Rows (z, y, x, element, amount, hydrogens, B), their chain and subchain names, and their masses in Da."""
    import gemmi

    rows: list[tuple[float, ...]] = []
    chains: list[tuple[str, str]] = []
    masses: list[float] = []
    info: dict[str, Any] = {}
    for chain in model:
        for residue in chain:
            if residue.is_water() or residue.name in _NO_ATOMS:
                continue
            if residue.name not in info:
                info[residue.name] = gemmi.find_tabulated_residue(residue.name)
            known = info[residue.name]
            polymer = known.is_amino_acid() or known.is_nucleic_acid()
            shares: dict[str, float] = {}
            for atom in residue:
                shares[atom.name] = shares.get(atom.name, 0.0) + atom.occ
            heavy = sum(not atom.is_hydrogen() for atom in residue if atom.altloc in ("\0", "A"))
            hydrogens = 0.0
            if heavy and not any(atom.is_hydrogen() for atom in residue):
                # a residue of a chain is the free molecule less the water lost to its neighbour
                full = max(known.hydrogen_count - (2 if polymer else 0), 0)
                hydrogens = full / max(heavy, 1)
                if polymer and heavy > 1:  # truncated residues lack the hydrogens of their missing atoms
                    hydrogens = min(hydrogens, 1.7)
            bead = polymer and len(shares) == 1 and known.weight > 60
            for atom in residue:
                element = atom.element
                number = element.atomic_number or _CARBON
                amount = atom.occ / max(shares[atom.name], 1.0)
                weight = element.weight or 12.011
                b_factor = atom.b_iso
                if bead:
                    amount, hydrogens = amount * (known.weight - _WATER) / weight, 0.0
                    b_factor += _BEAD_B
                rows.append((atom.pos.z, atom.pos.y, atom.pos.x, number, amount, hydrogens, b_factor))
                chains.append((chain.name, residue.subchain))
                masses.append(amount * (weight + hydrogens * _HYDROGEN))
    return rows, chains, np.array(masses)
