"""SO(3): random and Euler rotations. A `Rotation` turns the particle frame into the tomogram frame, acting on xyz."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Angles = npt.NDArray[np.float64]  # (n, 3) degrees


def random_rotations(count: int, generator: np.random.Generator) -> Rotation:
    """Draw rotations uniformly on SO(3)."""
    return Rotation.random(count, rng=generator)


def from_relion_deg(angles_deg: npt.ArrayLike) -> Rotation:
    """Rotations from RELION's (rot, tilt, psi): intrinsic ZYZ, tomogram to particle, hence inverted."""
    return Rotation.from_euler("ZYZ", np.atleast_2d(np.asarray(angles_deg, dtype=np.float64)), degrees=True).inv()


def to_relion_deg(rotations: Rotation) -> Angles:
    """(n, 3) RELION angles (rot, tilt, psi) in degrees, with ``0 <= tilt <= 180``."""
    return np.atleast_2d(_quiet_euler(rotations.inv(), "ZYZ"))


def from_shrec_deg(angles_deg: npt.ArrayLike) -> Rotation:
    """Rotations from SHREC 2021's (theta, phi, psi) columns: extrinsic ZXZ, particle to tomogram."""
    return Rotation.from_euler("zxz", np.atleast_2d(np.asarray(angles_deg, dtype=np.float64)), degrees=True)


def to_shrec_deg(rotations: Rotation) -> Angles:
    """(n, 3) ZXZ angles in degrees as SHREC 2021's ``particle_locations.txt`` holds them."""
    return np.atleast_2d(_quiet_euler(rotations, "zxz"))


def matrices_zyx(rotations: Rotation) -> npt.NDArray[np.float64]:
    """(n, 3, 3) matrices acting on zyx column vectors (the xyz matrices with both axes reversed)."""
    return np.ascontiguousarray(np.atleast_3d(rotations.as_matrix().reshape(-1, 3, 3))[:, ::-1, ::-1])


def _quiet_euler(rotations: Rotation, sequence: Literal["ZYZ", "zxz"]) -> Angles:
    with warnings.catch_warnings():  # at the poles the third angle is free; scipy sets it to zero and warns
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(rotations.as_euler(sequence, degrees=True), dtype=np.float64)
