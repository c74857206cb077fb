"""SO(3): random and Euler rotations. A `Rotation` turns the particle frame into the tomogram frame, acting on xyz."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError

Angles = npt.NDArray[np.float64]  # (n, 3) degrees

_SPIRAL = (np.sqrt(2), 1.533751168755204288118041413)  # the paper's phi and psi, psi^4 = psi + 4
# axes reversed by half turns about z, y and x: the wedge of tilts about y maps onto itself, so all copies are equally true
HALF_TURNS = ((), (-2, -1), (-3, -1), (-3, -2))


def random_rotations(count: int, generator: np.random.Generator) -> Rotation:
    """Draw rotations uniformly on SO(3)."""
    return Rotation.random(count, rng=generator)


def grid(step_deg: float, symmetry: str = "C1") -> Rotation:
    """Nearly evenly spaced rotations: a super-Fibonacci spiral (Alexa 2022, CVPR, "Super-Fibonacci Spirals").

    Parameters
    ----------
    step_deg
        Each rotation stands for a cube of this edge, in degrees of rotation angle: there are ``8 pi^2 / step^3``.
    symmetry
        Point group of the particle in Schoenflies notation (C7, D2, T, O, I), its main axis along z. Of rotations that
        look the same only the one nearest to the identity is searched, so that there are fewer by the group's order.

    Raises
    ------
    InputError
        If the step is not in (0, 180], or the group is unknown.
    """
    if not 0 < step_deg <= 180:
        raise InputError(f"angular step {step_deg} degrees: expected more than 0, at most 180")
    named: Any = symmetry
    try:
        group = Rotation.create_group(named)
    except ValueError:
        raise InputError(f"unknown point group {symmetry!r}: expected C1, C2, ..., D2, D3, ..., T, O or I") from None
    count = int(np.ceil(8 * np.pi**2 / np.deg2rad(step_deg) ** 3))
    share = (np.arange(count) + 0.5) / count
    first, second = (2 * np.pi * (np.arange(count) + 0.5) / ratio for ratio in _SPIRAL)
    inner, outer = np.sqrt(share), np.sqrt(1 - share)
    spiral = Rotation.from_quat(
        np.stack([inner * np.sin(first), inner * np.cos(first), outer * np.sin(second), outer * np.cos(second)], axis=1)
    )
    angle = spiral.magnitude()
    nearest = np.min([(spiral * same).magnitude() for same in group], axis=0)
    kept = angle <= nearest + 1e-9
    if not kept.any():
        raise InputError(f"no rotation of a grid of {step_deg} degrees is left by {symmetry}; take a smaller step")
    return spiral[kept]


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
