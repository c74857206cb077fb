"""Small made-up structures, written as files."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

ALANINE = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CB", "C"))


def protein(residues: int = 300, seed: int = 0) -> gemmi.Structure:
    """A compact blob of alanines without hydrogens."""
    generator = np.random.default_rng(seed)
    structure, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    for number in range(residues):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        middle = generator.uniform(-16, 16, 3)
        for name, element in ALANINE:
            atom = gemmi.Atom()
            atom.name, atom.element, atom.occ = name, gemmi.Element(element), 1.0
            atom.pos = gemmi.Position(*(middle + generator.normal(0, 1, 3)))
            residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    return structure


def write_protein(path: Path, residues: int = 300, seed: int = 0) -> Path:
    protein(residues, seed).write_pdb(str(path))
    return path


def add_lines(path: Path, *lines: str) -> Path:
    """Put further records into a PDB file, before its end."""
    kept = [line for line in path.read_text().splitlines() if not line.startswith(("END", "TER"))]
    path.write_text("\n".join([*kept, *lines, "END"]) + "\n")
    return path
