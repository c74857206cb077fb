"""Curves in space: smooth paths through nodes, and a frame that does not twist along them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.simulate.compiled import compiled

Points = npt.NDArray[np.float64]  # (n, 3) zyx, A
Frames = npt.NDArray[np.float64]  # (n, 3, 3) acting on zyx columns: local (z, y, x) to the parent frame, z = tangent
_FINE = 3.0  # A between the points of a path: a chord of 3 A leaves a circle of 42 A radius by 0.03 A


@dataclass(frozen=True, eq=False)
class Path:
    """A smooth curve by arc length.

    Parameters
    ----------
    points
        (n, 3) zyx in A, equally spaced along the curve.
    spacing
        A of arc between neighbours.
    first_normal
        (3,) zyx; the frame's local x at the start (its part perpendicular to the tangent). None: any.
    """

    points: Points
    spacing: float
    first_normal: Points | None = None

    @property
    def length(self) -> float:
        """A."""
        return (len(self.points) - 1) * self.spacing

    @cached_property
    def tangents(self) -> Points:
        """(n, 3) zyx unit vectors."""
        return unit(np.gradient(self.points, axis=0))

    @cached_property
    def _frames(self) -> Frames:
        """Rotation-minimising: the normal is carried by double reflection (Wang et al. 2008, ACM ToG 27:2)."""
        tangents = self.tangents
        normal = _any_normal(tangents[0]) if self.first_normal is None else np.asarray(self.first_normal, np.float64)
        normals = _carried(self.points, tangents, normal)
        # in zyx components a cross product changes its sign, so that z = x cross y stays right-handed
        return np.stack([tangents, -np.cross(tangents, normals), normals], axis=2)

    def at(self, arc: npt.ArrayLike, phase: npt.ArrayLike = 0.0) -> tuple[Points, Frames]:
        """Positions and frames at arc lengths (m,) in A, the frames turned about the tangent by ``phase`` (rad).

        Arc lengths beyond the ends go on straight.
        """
        arc = np.atleast_1d(np.asarray(arc, dtype=np.float64))
        low = np.clip(np.floor(arc / self.spacing).astype(np.int64), 0, len(self.points) - 2)
        part = (arc / self.spacing - low)[:, None]
        positions = self.points[low] * (1 - part) + self.points[low + 1] * part
        part = np.clip(part, 0, 1)[:, :, None]
        frames = _orthonormal(self._frames[low] * (1 - part) + self._frames[low + 1] * part)
        return positions, frames @ about_axis(np.broadcast_to(np.asarray(phase, dtype=np.float64), arc.shape))


def smooth_path(
    nodes: npt.ArrayLike,
    *,
    first_tangent: Points | None = None,
    first_normal: Points | None = None,
    spacing: float = _FINE,
) -> Path:
    """The cubic spline through nodes (n, 3) in A, at equal steps of at most ``spacing`` A.

    Parameters
    ----------
    first_tangent
        (3,) zyx unit vector in which the curve starts; None leaves it to the spline.

    Raises
    ------
    InputError
        If there are fewer than two nodes, or the path has no length.
    """
    through = np.array(nodes, dtype=np.float64).reshape(-1, 3)
    steps = np.linalg.norm(np.diff(through, axis=0), axis=1)
    if len(through) < 2 or not steps.sum() > 0 or not np.isfinite(through).all():
        raise InputError(f"path through {len(through)} points has no length; expected at least two points apart")
    through = through[np.concatenate([[True], steps > 0])]
    chord = np.concatenate([[0], np.cumsum(steps[steps > 0])])
    at = np.linspace(0, chord[-1], max(2, 4 * int(np.ceil(chord[-1] / spacing)) + 1))
    dense = np.asarray(_spline(chord, through, first_tangent)(at), dtype=np.float64)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    count = max(1, int(np.ceil(arc[-1] / spacing)))
    wanted = np.linspace(0, arc[-1], count + 1)
    points = np.stack([np.interp(wanted, arc, dense[:, axis]) for axis in range(3)], axis=1)
    return Path(points, float(arc[-1] / count), first_normal)


def about_axis(phase: npt.ArrayLike) -> Frames:
    """(n, 3, 3) rotations about local z by ``phase`` (rad; from x towards y), acting on zyx columns."""
    phase = np.atleast_1d(np.asarray(phase, dtype=np.float64))
    cos, sin, one, zero = np.cos(phase), np.sin(phase), np.ones_like(phase), np.zeros_like(phase)
    rows = [[one, zero, zero], [zero, cos, sin], [zero, -sin, cos]]  # y' = sin x + cos y, x' = cos x - sin y
    return np.moveaxis(np.array(rows), 2, 0)


def unit(vectors: Points) -> Points:
    """Vectors (..., 3) at length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float64)


def rotations_of(frames: Frames) -> Rotation:
    """Frames as rotations acting on xyz, particle frame to tomogram frame."""
    return Rotation.from_matrix(frames[..., ::-1, ::-1])


@compiled()
def _carried(points: Points, tangents: Points, normal: Points) -> Points:
    normals = np.empty_like(points)
    normal = normal - (normal * tangents[0]).sum() * tangents[0]
    normals[0] = normal / np.sqrt((normal * normal).sum())
    for i in range(len(points) - 1):
        v1 = points[i + 1] - points[i]
        c1 = (v1 * v1).sum()
        r = normals[i] - (2 / c1) * (v1 * normals[i]).sum() * v1
        t = tangents[i] - (2 / c1) * (v1 * tangents[i]).sum() * v1
        v2 = tangents[i + 1] - t
        c2 = (v2 * v2).sum()
        new = r if c2 < 1e-24 else r - (2 / c2) * (v2 * r).sum() * v2
        new = new - (new * tangents[i + 1]).sum() * tangents[i + 1]
        normals[i + 1] = new / np.sqrt((new * new).sum())
    return normals


def _spline(chord: Points, nodes: Points, first_tangent: Points | None) -> CubicSpline:
    if first_tangent is None:
        return CubicSpline(chord, nodes, bc_type="natural")
    return CubicSpline(chord, nodes, bc_type=((1, np.asarray(first_tangent)), (2, np.zeros(3))))


def _any_normal(tangent: Points) -> Points:
    helper = np.zeros(3)
    helper[np.argmin(np.abs(tangent))] = 1.0
    return np.cross(tangent, helper)


def _orthonormal(frames: Frames) -> Frames:
    tangent = unit(frames[:, :, 0])
    normal = frames[:, :, 2]
    normal = unit(normal - (normal * tangent).sum(axis=1, keepdims=True) * tangent)
    return np.stack([tangent, -np.cross(tangent, normal), normal], axis=2)
