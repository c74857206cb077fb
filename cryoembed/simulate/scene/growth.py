"""How a string with beads grows: piece by piece through free space, smoothly and with its helix in phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene import dna
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.paths import Frames, Path, Points, smooth_path, worm_like_chain
from cryoembed.simulate.scene.tubes import paint_tube, tube_is_free

_TRIES = 20  # for one piece, before earlier ones are given up
_SOFTEN, _SOFTEST = 5.0, 3.0  # failures after which a string bends twice as easily; at most four times
_FARTHEST = 6  # pieces given up at once
_BUDGET, _BUDGET_PER_A = 300, 0.5  # pieces tried for one chain from one start
_STARTS = 12
_JOINT = 30.0  # A around a joint in which its two sides may touch
_NODE_STEP = 20.0  # A


@dataclass(frozen=True, eq=False)
class Bead:
    """A particle on a string: its template, and the string through it in the template's frame.

    ``first_phase`` (rad) of the helix where it enters; ``drawn``: whether the string inside is drawn beside the
    template (a nucleosome's template holds it).
    """

    template: Template
    path: Path
    first_phase: float
    drawn: bool

    @classmethod
    def of(cls, template: Template) -> Bead:
        """A particle threaded along its z axis, from surface to surface."""
        offsets = np.argwhere(template.mask()) - template.box_vox // 2
        near = offsets[np.hypot(offsets[:, 1], offsets[:, 2]) * template.voxel_size <= max(15.0, template.voxel_size)]
        reach = (np.abs(near[:, 0]).max() + 1) * template.voxel_size if len(near) else template.radius
        return cls(template, smooth_path([(-reach, 0, 0), (reach, 0, 0)]), 0.0, drawn=True)

    @classmethod
    def nucleosome(cls, voxel_size: float, resolution: float) -> Bead:
        """A core particle, entered and left along its DNA."""
        path, phase = dna.superhelix()
        moved = Path(path.points - dna.nucleosome_centre(), path.spacing)
        return cls(dna.nucleosome(voxel_size, resolution=resolution), moved, phase, drawn=False)

    def surface(self) -> Points:
        """(n, 3) zyx, A: the voxels of the mask from the centre."""
        return np.asarray((np.argwhere(self.template.mask()) - self.template.box_vox // 2) * self.template.voxel_size)


@dataclass(frozen=True, eq=False)
class StringLaw:
    """What a string is made of: lengths in A of its free stretches, persistence length, radius of its tube, twist."""

    spacing: tuple[float, float]
    persistence: float
    radius: float
    twist: float  # rad / A


@dataclass(frozen=True, eq=False)
class Piece:
    """A free stretch of string and the bead at its end (``inside`` None: no bead); where and how the next one starts."""

    string: Path
    at: Points
    turn: Frames
    inside: Path | None
    end: Points
    end_frame: Frames

    @property
    def length(self) -> float:
        """A of string."""
        return self.string.length + (0.0 if self.inside is None else self.inside.length)


def grow(
    canvas: Canvas, law: StringLaw, bead: Bead | None, length: tuple[float, float], generator: np.random.Generator
) -> list[Piece]:
    """The pieces of one chain of a random length, none if there is no room for the shortest.

    Each piece is drawn from the worm-like chain, and drawn again where it would touch anything, leave the volume or
    meet its own chain. Each failure lets it bend a little more easily, as a wall would make it, down to a quarter of
    its persistence length; then earlier pieces are given up. Free of walls the chain keeps its law.
    """
    wanted = generator.uniform(*length)
    growing = _Growing(canvas, law, None if bead is None else bead.surface())
    for _ in range(_STARTS):
        start = _free_voxel(canvas, generator)
        if start is None:
            return []
        direction = generator.normal(size=3)
        start = start * canvas.voxel_size
        origin, frame = smooth_path([start, start + direction / np.linalg.norm(direction)]).at(0.0)
        failures, stuck, longest = 0, 0, 0.0
        for _ in range(_BUDGET + int(_BUDGET_PER_A * wanted)):
            last = growing.pieces[-1] if growing.pieces else None
            end, turn = (origin[0], frame[0]) if last is None else (last.end, last.end_frame)
            nodes = string_nodes(law, end, turn, generator, softer=1 + min(failures / _SOFTEN, _SOFTEST))
            if growing.reaches(nodes) and growing.add(thread(law, bead, nodes, turn)):
                failures = 0
                if growing.length >= wanted:
                    return growing.pieces
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
            return growing.pieces
        growing.drop(len(growing.pieces))
    return []


def string_nodes(
    law: StringLaw, start: Points, frame: Frames, generator: np.random.Generator, *, softer: float = 1.0
) -> Points:
    """(n, 3) nodes of one more stretch of free string, its persistence length divided by ``softer``."""
    length = generator.uniform(*law.spacing)
    steps = max(2, int(np.ceil(length / min(_NODE_STEP, law.persistence / 4))))
    persistence = law.persistence / softer
    return worm_like_chain(steps, length / steps, persistence, generator, start=start, direction=frame[:, 0])


def thread(law: StringLaw, bead: Bead | None, nodes: Points, frame: Frames) -> Piece:
    """A piece through these nodes, going on smoothly from the frame with the helix in phase."""
    string = smooth_path(nodes, first_tangent=frame[:, 0], first_normal=frame[:, 2])
    positions, frames = string.at(string.length, law.twist * string.length)
    end, end_frame = positions[0], frames[0]
    if bead is None:
        return Piece(string, end, end_frame, None, end, end_frame)
    arc = np.array([0.0, bead.path.length])
    inner, inner_frames = bead.path.at(arc, bead.first_phase + law.twist * arc)
    turn = end_frame @ inner_frames[0].T
    at = end - turn @ inner[0]
    inside = Path(bead.path.points @ turn.T + at, bead.path.spacing, turn @ inner_frames[0][:, 2])
    return Piece(string, at, turn, inside, at + turn @ inner[1], turn @ inner_frames[1])


def _free_voxel(canvas: Canvas, generator: np.random.Generator) -> Points | None:
    """A random free voxel (zyx); all of them are looked up only where they are few."""
    for place in generator.integers(0, canvas.shape, size=(200, 3)):
        if not canvas.blocked[tuple(place)]:
            return np.asarray(place, dtype=np.float64)
    free = np.flatnonzero(~canvas.blocked.reshape(-1))
    return np.array(np.unravel_index(generator.choice(free), canvas.shape), dtype=np.float64) if len(free) else None


class _Growing:
    """A chain on its way, with the voxels that are its own."""

    def __init__(self, canvas: Canvas, law: StringLaw, surface: Points | None) -> None:
        self.canvas, self.law, self.surface = canvas, law, surface
        self.own: npt.NDArray[np.bool_] = np.zeros(canvas.shape, dtype=np.bool_)
        self.pieces: list[Piece] = []

    @property
    def length(self) -> float:
        return sum(piece.length for piece in self.pieces)

    def reaches(self, nodes: Points) -> bool:
        """Whether the nodes lie in free voxels: a quick look before the curve through them is made."""
        index = np.floor(nodes / self.canvas.voxel_size + 0.5).astype(np.int64)
        inside = bool(np.all((index >= 0) & (index < self.canvas.shape)))
        return inside and not self.canvas.blocked[tuple(index.T)].any()

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
        voxel, string = self.canvas.voxel_size, piece.string
        if not tube_is_free(self.canvas.blocked, string, self.law.radius, voxel):
            return False
        skip = int(np.ceil((_JOINT + voxel) / string.spacing)) if self.pieces else 0
        if len(string.points) - skip > 2:
            rest = Path(string.points[skip:], string.spacing)
            if not tube_is_free(self.own, rest, self.law.radius, voxel):
                return False
        if self.surface is None:
            return True
        index = self._voxels(piece)
        if not np.all((index >= 0) & (index < self.canvas.shape)) or self.canvas.blocked[tuple(index.T)].any():
            return False
        apart = np.linalg.norm(index * voxel - string.points[-1], axis=1) > _JOINT + voxel
        return not (self.own[tuple(index[apart].T)].any() or self._enters(piece, index[apart]))

    def _enters(self, piece: Piece, voxels: npt.NDArray[np.int64]) -> bool:
        """Whether a piece's own string runs into its bead before the joint."""
        string = self.canvas.voxel_size * voxels
        before = piece.string.points[: -int(np.ceil((_JOINT + self.canvas.voxel_size) / piece.string.spacing))][::3]
        if len(before) == 0 or len(string) == 0:
            return False
        nearest = ((before[:, None] - string[None]) ** 2).sum(axis=2).min()
        return bool(nearest < self.law.radius**2)

    def _mark(self, piece: Piece, value: bool) -> None:
        paint_tube(self.own, piece.string, self.law.radius, self.canvas.voxel_size, value)
        if self.surface is not None:
            self.own[tuple(self._voxels(piece).T)] = value

    def _voxels(self, piece: Piece) -> npt.NDArray[np.int64]:
        assert self.surface is not None
        return np.floor((self.surface @ piece.turn.T + piece.at) / self.canvas.voxel_size + 0.5).astype(np.int64)
