"""How a string with beads finds its way: piece by piece through free space, going back where it is stuck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.paths import Path, Points, smooth_path
from cryoembed.simulate.scene.strings import Bead, Piece, StringLaw, string_nodes, thread
from cryoembed.simulate.scene.tubes import paint_tube, tube_is_free

_TRIES = 20  # for one piece, before earlier ones are given up
_SOFTEN, _SOFTEST = 5.0, 3.0  # failures after which a string bends twice as easily; at most four times
_FARTHEST = 6  # pieces given up at once
_BUDGET, _BUDGET_PER_A = 300, 0.5  # pieces tried for one chain from one start
_STARTS = 12
_JOINT = 30.0  # A around a joint in which its two sides may touch


@dataclass(frozen=True, eq=False)
class Ground:
    """Where chains may grow: the canvas, and ``rim`` voxels beyond its side faces, which cut what stands out.

    Without a rim chains would run along the faces, which are no walls in a real sample.
    """

    blocked: npt.NDArray[np.bool_]
    voxel_size: float
    rim: int

    @classmethod
    def of(cls, canvas: Canvas, *, rim: float = 0.0) -> Ground:
        """``rim`` in A; beyond a face things go on as they meet it."""
        wide = int(np.ceil(rim / canvas.voxel_size))
        return cls(np.pad(canvas.blocked, ((0, 0), (wide, wide), (wide, wide)), mode="edge"), canvas.voxel_size, wide)

    def refresh(self, canvas: Canvas) -> None:
        """Take over what the canvas holds by now."""
        self.blocked[self.inner] = canvas.blocked

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The canvas in the ground."""
        depth, height, width = self.blocked.shape
        return slice(0, depth), slice(self.rim, height - self.rim), slice(self.rim, width - self.rim)

    @property
    def origin(self) -> Points:
        """(3,) zyx, A: the ground's first voxel in the canvas."""
        return np.array([0.0, -self.rim, -self.rim]) * self.voxel_size

    def cuts(self, voxels: npt.NDArray[np.int64], centre: npt.NDArray[np.int64]) -> bool:
        """Whether a bead shows in the canvas while its centre does not: it could not stand in the truth."""
        low = np.array([0, self.rim, self.rim])
        high = np.array(self.blocked.shape) - low
        shows = np.all((voxels >= low) & (voxels < high), axis=1).any()
        return bool(shows and not np.all((centre >= low) & (centre < high)))


def grow(
    ground: Ground, law: StringLaw, bead: Bead | None, length: tuple[float, float], generator: np.random.Generator
) -> list[Piece]:
    """The pieces of one chain of a random length, none if there is no room for the shortest.

    Each piece is drawn from the worm-like chain, and drawn again where it would touch anything, leave the volume or
    meet its own chain. Each failure lets it bend a little more easily, as a wall would make it, down to a quarter of
    its persistence length; then earlier pieces are given up. Free of walls the chain keeps its law.
    """
    wanted = generator.uniform(*length)
    growing = _Growing(ground, law, None if bead is None else bead.surface())
    for _ in range(_STARTS):
        start = _free_voxel(ground, generator)
        if start is None:
            return []
        direction = generator.normal(size=3)
        start = start * ground.voxel_size
        origin, frame = smooth_path([start, start + direction / np.linalg.norm(direction)]).at(0.0)
        failures, stuck, longest = 0, 0, 0.0
        for _ in range(_BUDGET + int(_BUDGET_PER_A * wanted)):
            last = growing.pieces[-1] if growing.pieces else None
            end, turn = (origin[0], frame[0]) if last is None else (last.end, last.end_frame)
            nodes = string_nodes(law, end, turn, generator, softer=1 + min(failures / _SOFTEN, _SOFTEST))
            if growing.reaches(nodes) and growing.add(thread(law, bead, nodes, turn)):
                failures = 0
                if growing.length >= wanted:
                    return growing.finished()
                if growing.length > longest:
                    longest, stuck = growing.length, 0
                continue
            failures += 1
            if failures < _TRIES:
                continue
            if not growing.pieces:
                break
            failures, stuck = 0, stuck + 1  # the further back the more often this end proved dead
            growing.drop(min(stuck, _FARTHEST))
        if growing.length >= length[0]:
            return growing.finished()
        growing.drop(len(growing.pieces))
    return []


def _free_voxel(ground: Ground, generator: np.random.Generator) -> Points | None:
    """A random free voxel of the canvas (zyx in the ground); all are looked up only where they are few."""
    inner = ground.blocked[ground.inner]
    low = np.array([0, ground.rim, ground.rim])
    for place in generator.integers(0, inner.shape, size=(200, 3)):
        if not inner[tuple(place)]:
            return np.asarray(place + low, dtype=np.float64)
    free = np.flatnonzero(~inner.reshape(-1))
    return (
        np.array(np.unravel_index(generator.choice(free), inner.shape), dtype=np.float64) + low if len(free) else None
    )


class _Growing:
    """A chain on its way, with the voxels that are its own."""

    def __init__(self, ground: Ground, law: StringLaw, surface: Points | None) -> None:
        self.ground, self.law, self.surface = ground, law, surface
        self.own: npt.NDArray[np.bool_] = np.zeros(ground.blocked.shape, dtype=np.bool_)
        self.pieces: list[Piece] = []

    @property
    def length(self) -> float:
        return sum(piece.length for piece in self.pieces)

    def finished(self) -> list[Piece]:
        """The pieces, in A of the canvas."""
        return [piece.moved(self.ground.origin) for piece in self.pieces]

    def reaches(self, nodes: Points) -> bool:
        """Whether the nodes lie in free voxels: a quick look before the curve through them is made."""
        index = np.floor(nodes / self.ground.voxel_size + 0.5).astype(np.int64)
        inside = bool(np.all((index >= 0) & (index < self.ground.blocked.shape)))
        return inside and not self.ground.blocked[tuple(index.T)].any()

    def add(self, piece: Piece) -> bool:
        """Take a piece if it fits."""
        if not self._fits(piece):
            return False
        self.pieces.append(piece)
        self._mark(piece, True)
        return True

    def drop(self, count: int) -> None:
        """Give up the last pieces."""
        for _ in range(min(count, len(self.pieces))):
            self._mark(self.pieces.pop(), False)
        for kept in self.pieces[-2:]:  # what the dropped ones shared with their neighbours
            self._mark(kept, True)

    def _fits(self, piece: Piece) -> bool:
        voxel, string = self.ground.voxel_size, piece.string
        if not tube_is_free(self.ground.blocked, string, self.law.radius, voxel):
            return False
        skip = int(np.ceil((_JOINT + voxel) / string.spacing)) if self.pieces else 0
        if len(string.points) - skip > 2:
            rest = Path(string.points[skip:], string.spacing)
            if not tube_is_free(self.own, rest, self.law.radius, voxel):
                return False
        if self.surface is None:
            return True
        index = self._voxels(piece)
        if not np.all((index >= 0) & (index < self.ground.blocked.shape)) or self.ground.blocked[tuple(index.T)].any():
            return False
        if self.ground.cuts(index, np.floor(piece.at / voxel + 0.5).astype(np.int64)):
            return False
        apart = np.linalg.norm(index * voxel - string.points[-1], axis=1) > _JOINT + voxel
        return not (self.own[tuple(index[apart].T)].any() or self._enters(piece, index[apart]))

    def _enters(self, piece: Piece, voxels: npt.NDArray[np.int64]) -> bool:
        """Whether a piece's own string runs into its bead before the joint."""
        string = self.ground.voxel_size * voxels
        before = piece.string.points[: -int(np.ceil((_JOINT + self.ground.voxel_size) / piece.string.spacing))][::3]
        if len(before) == 0 or len(string) == 0:
            return False
        nearest = ((before[:, None] - string[None]) ** 2).sum(axis=2).min()
        return bool(nearest < self.law.radius**2)

    def _mark(self, piece: Piece, value: bool) -> None:
        paint_tube(self.own, piece.string, self.law.radius, self.ground.voxel_size, value)
        if self.surface is not None:
            self.own[tuple(self._voxels(piece).T)] = value

    def _voxels(self, piece: Piece) -> npt.NDArray[np.int64]:
        assert self.surface is not None
        return np.floor((self.surface @ piece.turn.T + piece.at) / self.ground.voxel_size + 0.5).astype(np.int64)
