"""Shapes as signed distances: spheres, ellipsoids, tori and sheets with undulations; negative inside, in A."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Points = npt.NDArray[np.float64]  # (n, 3) zyx, A
_STEP = 2.0  # A, of numeric gradients


@dataclass(frozen=True, eq=False)
class Waves:
    """Undulations: plane waves in a surface's own frame, which raise and lower it.

    ``vectors`` (n, 3) rad / A, ``phases`` (n,), ``amplitude`` A: s.d. of the height is ``amplitude / sqrt(2)``.
    """

    vectors: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    phases: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    amplitude: float = 0.0

    def height(self, local: tuple[Array, Array, Array]) -> Array | float:
        total: Array | float = 0.0
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total = total + np.cos(sum(float(k) * u for k, u in zip(vector, local, strict=True) if k) + float(phase))
        scaled: Array | float = total * (self.amplitude / np.sqrt(max(len(self.phases), 1)))
        return scaled

    @property
    def highest(self) -> float:
        """A: no undulation is higher."""
        return float(self.amplitude * np.sqrt(len(self.phases)))


@dataclass(frozen=True, eq=False)
class Surface(ABC):
    """A closed surface or a sheet.

    Parameters
    ----------
    centre
        (3,) zyx, A.
    axes
        (3, 3) orthonormal rows in zyx: the frame the shape is described in.
    waves
        Undulations of the surface.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    waves: Waves = field(default_factory=Waves)

    @property
    @abstractmethod
    def reach(self) -> float:
        """A from the centre to the farthest point, without undulations; infinite for a sheet."""

    @property
    def depth(self) -> float:
        """A from the surface to the middle of what it encloses, where that is nearest."""
        return self.reach

    @property
    def extent(self) -> npt.NDArray[np.float64]:
        """(3,) A from the centre to the farthest point along z, y and x, without undulations; never less."""
        return np.full(3, self.reach)

    @abstractmethod
    def _base(self, u: Array, v: Array, w: Array) -> Array:
        """Signed distance of points in the shape's own frame."""

    def distance(self, z: Array, y: Array, x: Array) -> Array:
        """Signed distance (A, to first order) of points given by broadcastable coordinates in A; keeps float32."""
        shifted = [axis - axis.dtype.type(at) for axis, at in zip((z, y, x), self.centre, strict=True)]
        local = tuple(
            sum((axis.dtype.type(a) * axis for a, axis in zip(row, shifted, strict=True)), start=z.dtype.type(0))
            for row in self.axes
        )
        u, v, w = (np.asarray(one) for one in local)
        return np.asarray(self._base(u, v, w) - self.waves.height((u, v, w)), dtype=z.dtype)

    def at(self, points_zyx: Points) -> npt.NDArray[np.float64]:
        """(n,) signed distance of (n, 3) points."""
        return np.asarray(self.distance(points_zyx[:, 0], points_zyx[:, 1], points_zyx[:, 2]), dtype=np.float64)

    def normals(self, points_zyx: Points) -> Points:
        """(n, 3) unit vectors (zyx) along which the distance grows: outward."""
        steps = np.eye(3) * _STEP
        gradient = np.stack([self.at(points_zyx + step) - self.at(points_zyx - step) for step in steps], axis=1)
        return np.asarray(gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12))

    def projected(self, points_zyx: Points) -> Points:
        """(n, 3) points moved onto the surface along its normals."""
        for _ in range(3):
            points_zyx = points_zyx - self.at(points_zyx)[:, None] * self.normals(points_zyx)
        return points_zyx


@dataclass(frozen=True, eq=False)
class Ellipsoid(Surface):
    """Semi-axes (A) along the rows of ``axes``."""

    semi: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(3))

    @property
    def reach(self) -> float:
        return float(self.semi.max())

    @property
    def depth(self) -> float:
        return float(self.semi.min())

    @property
    def extent(self) -> npt.NDArray[np.float64]:
        return np.asarray(np.sqrt(((self.axes * self.semi[:, None]) ** 2).sum(axis=0)))

    def _base(self, u: Array, v: Array, w: Array) -> Array:
        # (f - 1) / |grad f| with f = sqrt(sum (u_i / a_i)^2): exact at the surface, first order beside it
        squares = [np.square(one / one.dtype.type(a)) for one, a in zip((u, v, w), self.semi, strict=True)]
        level = np.sqrt(squares[0] + squares[1] + squares[2])
        slope = np.sqrt(sum(s / s.dtype.type(a * a) for s, a in zip(squares, self.semi, strict=True)))
        near = (level - 1) * level / np.maximum(slope, 1e-9)
        # towards the middle first order fails where semi-axes differ; there, the inscribed sphere's distance
        return np.asarray(np.where(level < 0.3, (level - 1) * level.dtype.type(self.semi.min()), near))


@dataclass(frozen=True, eq=False)
class Torus(Surface):
    """A tube of radius ``minor`` around a ring of radius ``major`` (A) about the first axis."""

    major: float = 1.0
    minor: float = 1.0

    @property
    def reach(self) -> float:
        return self.major + self.minor

    @property
    def depth(self) -> float:
        return self.minor

    def _base(self, u: Array, v: Array, w: Array) -> Array:
        ring = np.sqrt(np.square(v) + np.square(w)) - v.dtype.type(self.major)
        return np.asarray(np.sqrt(np.square(ring) + np.square(u)) - v.dtype.type(self.minor))


@dataclass(frozen=True, eq=False)
class Sheet(Surface):
    """A plane through the centre; the first axis is its normal."""

    @property
    def reach(self) -> float:
        return float("inf")

    def _base(self, u: Array, v: Array, w: Array) -> Array:
        return u + 0 * v + 0 * w


def draw_waves(
    generator: np.random.Generator, amplitude: float, wavelength: tuple[float, float], *, in_plane: bool
) -> Waves:
    """Three waves of random directions and lengths (A); ``in_plane`` keeps them perpendicular to the first axis."""
    directions = generator.normal(size=(3, 3))
    if in_plane:
        directions[:, 0] = 0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = generator.uniform(*wavelength, size=(3, 1))
    return Waves(directions * 2 * np.pi / lengths, generator.uniform(0, 2 * np.pi, 3), amplitude)
