"""What strings are made of: the law of their bends, the beads on them, and pieces that join smoothly and in phase."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene import dna
from cryoembed.simulate.scene.paths import Frames, Path, Points, smooth_path
from cryoembed.simulate.scene.worm_like import worm_like_chain

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

    def moved(self, by: Points) -> Piece:
        """The piece elsewhere."""
        string = replace(self.string, points=self.string.points + by)
        inside = None if self.inside is None else replace(self.inside, points=self.inside.points + by)
        return replace(self, string=string, at=self.at + by, inside=inside, end=self.end + by)


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
