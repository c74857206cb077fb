"""Biological assemblies of a structure file: where its copies lie, and what whole sequences weigh."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Copies:
    """Atoms of the file (rows) and the places where an assembly has them."""

    rows: npt.NDArray[np.intp]
    matrices_zyx: Array  # (k, 3, 3)
    shifts_zyx: Array  # (k, 3) A


def copies_of(structure: Any, names: npt.NDArray[np.str_], assembly: str | None, path: Path) -> tuple[Copies, ...]:
    """Where an assembly of the file has its atoms (their chain and subchain in ``names``); None: as they are."""
    everything = np.arange(len(names))
    known = {item.name: item for item in structure.assemblies}
    if assembly is None:
        larger = [name for name, item in known.items() if operators(item) > 1]
        if larger:
            logger.info(
                "structure %s: taken as in the file; its assembly %s is larger (give assembly: %r for it)",
                path,
                larger[0],
                larger[0],
            )
        return (Copies(everything, np.eye(3)[None], np.zeros((1, 3))),)
    if assembly not in known:
        raise InputError(f"structure {path}: no assembly {assembly!r}; it has {', '.join(known) or 'none'}")
    found = []
    for generator in known[assembly].generators:
        column, members = (1, generator.subchains) if generator.subchains else (0, generator.chains)
        rows = np.flatnonzero(np.isin(names[:, column], list(members))) if members else everything
        matrices = np.array([operator.transform.mat.tolist() for operator in generator.operators]).reshape(-1, 3, 3)
        shifts = np.array([operator.transform.vec.tolist() for operator in generator.operators]).reshape(-1, 3)
        if len(rows) and len(matrices):
            found.append(Copies(rows, matrices[:, ::-1, ::-1], shifts[:, ::-1]))
    if not found:
        raise InputError(f"structure {path}: assembly {assembly!r} holds none of the file's chains")
    return tuple(found)


def operators(assembly: Any) -> int:
    """How often an assembly repeats what the file holds."""
    return max((len(generator.operators) for generator in assembly.generators), default=0)


def sequence_mass(structure: Any, names: npt.NDArray[np.str_], copies: tuple[Copies, ...]) -> float | None:
    """KDa of the sequences of all copied chains, modelled or not."""
    import gemmi

    weights = {
        subchain: gemmi.calculate_sequence_weight([gemmi.Entity.first_mon(name) for name in entity.full_sequence])
        for entity in structure.entities
        if entity.full_sequence
        for subchain in entity.subchains
    }
    if not weights:
        return None
    total = sum(
        len(part.matrices_zyx) * sum(weights.get(str(name), 0.0) for name in np.unique(names[part.rows, 1]))
        for part in copies
    )
    return float(total) / 1000
