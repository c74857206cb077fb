"""Particles: one row per particle. Positions in A (parent frame), optional rotation, label, score, probability, id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.geometry import Points

POSITION = ("z", "y", "x")
QUATERNION = ("qx", "qy", "qz", "qw")
DTYPES: dict[str, str] = {
    "tomogram": "object",
    **dict.fromkeys(POSITION, "float64"),
    **dict.fromkeys(QUATERNION, "float32"),
    "label": "object",
    "score": "float32",
    "probability": "float32",
    "instance": "int32",
    "volume": "float32",
    "particle_id": "object",
}
# labels of a truth's rows that are no particles: these reach through the tomogram, so that their one position is some
# point of them (or the empty middle of a vesicle), and nobody can be asked to pick it
EXTENDED = frozenset({"vesicle", "membrane", "microtubule", "actin", "dna", "mrna"})
FIDUCIAL = "fiducial"  # gold has a position, but is no molecule


def is_particle(labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """(n,) whether labels are of something with a position of its own: not `EXTENDED`; case does not matter."""
    return np.array([str(label).strip().lower() not in EXTENDED for label in np.atleast_1d(labels)], dtype=np.bool_)


def is_molecule(labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """(n,) whether labels are of macromolecules: `is_particle`, and no gold."""
    gold = [str(label).strip().lower() == FIDUCIAL for label in np.atleast_1d(labels)]
    return np.asarray(is_particle(labels) & ~np.array(gold, dtype=np.bool_), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Particles:
    """A table of particles with checked columns.

    Parameters
    ----------
    table
        Columns ``tomogram, z, y, x`` (A) and any of ``qx qy qz qw label score probability instance volume
        particle_id``; further columns are kept as they are. The index is replaced by 0..n-1, types are enforced.

    Raises
    ------
    InputError
        If a required column is missing, or a position is not a finite number.
    """

    table: pd.DataFrame = field(repr=False)

    def __post_init__(self) -> None:
        missing = [name for name in ("tomogram", *POSITION) if name not in self.table.columns]
        if missing:
            raise InputError(f"particles need the columns tomogram,z,y,x; missing {', '.join(missing)}")
        table = self.table.reset_index(drop=True).copy()
        for name, dtype in DTYPES.items():
            if name not in table.columns:
                continue
            if dtype == "object":
                table[name] = table[name].fillna("").astype(str).astype(object)
                continue
            try:
                filled = table[name].fillna(0) if dtype == "int32" else table[name]  # 0: of no instance
                table[name] = filled.astype(np.dtype(dtype))
            except (ValueError, TypeError):
                raise InputError(f"particles: column {name!r} holds values that are not numbers") from None
        finite = np.isfinite(table[list(POSITION)].to_numpy()).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite)) + 1
            raise InputError(
                f"particles, row {row}: a position is not a finite number; remove the row or mend the file"
            )
        object.__setattr__(self, "table", table)

    @classmethod
    def from_arrays(
        cls,
        tomogram: str | Sequence[str],
        positions_zyx: npt.ArrayLike,
        *,
        rotations: Rotation | None = None,
        **columns: Any,
    ) -> Particles:
        """Build from (n, 3) positions in A (zyx), optional rotations, and further columns by name."""
        positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
        names = [tomogram] * len(positions) if isinstance(tomogram, str) else list(tomogram)
        table = pd.DataFrame({"tomogram": pd.Series(names, dtype=object)})
        table[list(POSITION)] = positions
        if rotations is not None:
            table[list(QUATERNION)] = rotations.as_quat().reshape(-1, 4).astype(np.float32)
        for name, values in columns.items():
            table[name] = values
        return cls(table)

    @classmethod
    def empty(cls) -> Particles:
        """No particles, with the required columns."""
        return cls.from_arrays([], np.zeros((0, 3)))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def positions_zyx(self) -> Points:
        """(n, 3) positions in A, zyx."""
        return self.table[list(POSITION)].to_numpy(dtype=np.float64)

    @property
    def rotations(self) -> Rotation | None:
        """Particle frame to tomogram frame, or None if the table has no orientations."""
        if any(name not in self.table.columns for name in QUATERNION) or self.table.empty:
            return None
        quaternions = self.table[list(QUATERNION)].to_numpy(dtype=np.float64)
        # rows without an orientation (vesicles, fiducials) are NaN in the table and the identity here
        quaternions[~np.isfinite(quaternions).all(axis=1)] = (0.0, 0.0, 0.0, 1.0)
        return Rotation.from_quat(quaternions)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """(n,) label strings; ``""`` is unknown."""
        return self.column("label", "")

    @property
    def tomograms(self) -> list[str]:
        """Names of the tomograms, in order of appearance."""
        return list(dict.fromkeys(self.table["tomogram"]))

    def column(self, name: str, default: Any) -> npt.NDArray[Any]:
        """A column as an array, or ``default`` repeated where the table has none."""
        if name in self.table.columns:
            return self.table[name].to_numpy()
        dtype = DTYPES.get(name, "object")
        return np.full(len(self), default, dtype=dtype)

    def select(self, rows: npt.NDArray[Any] | Sequence[int]) -> Particles:
        """Rows by boolean mask or by index, in the order given."""
        rows = np.asarray(rows)
        return Particles(self.table[rows] if rows.dtype == bool else self.table.iloc[rows.astype(np.int64)])

    def of(self, tomogram: str) -> Particles:
        """The rows of one tomogram."""
        return self.select((self.table["tomogram"] == tomogram).to_numpy())

    def with_columns(self, **columns: Any) -> Particles:
        """A copy with columns added or replaced."""
        return Particles(self.table.assign(**columns))

    def sorted_by_score(self) -> Particles:
        """Highest score first; ties keep their order."""
        return self.select(np.argsort(-self.column("score", 0.0), kind="stable"))

    @staticmethod
    def concatenate(parts: Sequence[Particles]) -> Particles:
        """All rows of all parts, in order."""
        filled = [part.table for part in parts if len(part)]
        return Particles(pd.concat(filled, ignore_index=True)) if filled else Particles.empty()


def particle_ids(tomogram: str, positions_zyx: npt.ArrayLike, model_hash: str) -> list[str]:
    """16 hex digits per particle from tomogram, position (to 0.01 A) and model: stable across replace and merge."""
    positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
    texts = (f"{tomogram}|{z:.2f}|{y:.2f}|{x:.2f}|{model_hash}" for z, y, x in positions + 0.0)
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
