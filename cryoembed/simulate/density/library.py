"""What is known about species beforehand: names, masses, point groups, and the split that twins never cross."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast, get_args

from cryoembed.simulate.density.template import Split

POINT_GROUP = r"C[1-9]\d?|D([2-9]|[1-9]\d)|T|O|I"


@dataclass(frozen=True)
class Species:
    """One known entry.

    Parameters
    ----------
    pdb
        Id, lower case.
    name
        In words.
    mass_kda
        Of what the assembly (or, without one, the entry's file) holds, by its atoms.
    symmetry
        Point group of that.
    split
        Weights that ship with the package see train only.
    assembly
        The biological assembly that is meant; None takes the file as it is.
    inward
        Of membrane proteins whose large part, up in their aligned maps, lies inside of the cell (or in the matrix).
    """

    pdb: str
    name: str
    mass_kda: float
    symmetry: str
    split: Split
    assembly: str | None
    inward: bool
    notes: str


@cache
def library() -> dict[str, Species]:
    """The known species by PDB id."""
    text = resources.files("cryoembed.simulate.density").joinpath("species.csv").read_text()
    found = {}
    for row in csv.DictReader(text.splitlines()):
        assert row["split"] in get_args(Split), row
        found[row["pdb"]] = Species(
            pdb=row["pdb"],
            name=row["name"],
            mass_kda=float(row["mass_kda"]),
            symmetry=row["symmetry"],
            split=cast(Split, row["split"]),
            assembly=row["assembly"] or None,
            inward=row["inward"] == "yes",
            notes=row["notes"],
        )
    return found


def known(text: str) -> Species | None:
    """The species that an id or a file's stem names: 4v4r, 4V4R_30S, pdb1ake, pdb_00001ake, 3j9i-assembly1."""
    match = re.match(r"(?:pdb_0000|pdb)?([1-9][a-z0-9]{3})(?![a-z0-9])", text.strip().lower())
    return library().get(match[1]) if match else None


def short_id(pdb_id: str) -> str:
    """An id in lower case, the extended form of an old one (pdb_00001abc) in its four characters."""
    text = pdb_id.strip().lower()
    return text.removeprefix("pdb_0000") if re.fullmatch(r"pdb_0000[1-9][a-z0-9]{3}", text) else text


def group_order(symmetry: str) -> int:
    """Operators of a point group: C7 has 7, D7 14, T 12, O 24, I 60."""
    fixed = {"T": 12, "O": 24, "I": 60}
    if symmetry in fixed:
        return fixed[symmetry]
    return int(symmetry[1:]) * (2 if symmetry[0] == "D" else 1)
