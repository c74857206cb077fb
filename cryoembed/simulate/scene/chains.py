"""Strings with beads in a sample: DNA with nucleosomes or polymerases, mRNA with ribosomes, and the bare string."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene import dna
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.growth import Ground, grow
from cryoembed.simulate.scene.paths import Path, rotations_of
from cryoembed.simulate.scene.strand import Strand, write_particle, write_strand
from cryoembed.simulate.scene.strings import Bead, Piece, StringLaw

logger = logging.getLogger(__name__)
Kind = Literal["dna", "mrna"]
NUCLEOSOME = "nucleosome"
_RIM = 250.0  # A beyond the side faces in which chains that these cut may grow
_GIVE_UP = 5  # chains in a row that found no place
_BARE = (60.0, 200.0)  # A grown at once where there are no beads


class ChainSpec(Config):
    """Chains of one kind: bare, or with a bead (a nucleosome, or a species by its name) after every ``spacing``.

    The string runs through the middle of a species along its z axis; a nucleosome brings its 147 bp with it. Each chain
    is one object, each bead another.
    """

    kind: Kind = "dna"
    count: tuple[int, int] = (1, 3)  # per model
    length: tuple[float, float] = (1000.0, 5000.0)  # A of string, with what lies in beads
    beads: str | None = None  # "nucleosome" or a species
    spacing: tuple[float, float] = (66.0, 266.0)  # A of free string between beads (20 to 80 bp)
    persistence: float | None = Field(default=None, gt=0)  # A; None: 500 (dna), 100 (mrna)
    cut: bool = True  # whether the side faces of the volume may cut it

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 <= self.count[0] <= self.count[1]:
            raise ValueError(f"count {self.count}: expected a range of counts")
        for name in ("length", "spacing"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} {low, high}: expected a rising range of positive lengths in A")
        return self

    def law(self) -> StringLaw:
        """What the string is made of."""
        spacing = _BARE if self.beads is None else self.spacing
        if self.kind == "dna":
            return StringLaw(spacing, self.persistence or dna.DNA_PERSISTENCE, dna.DNA_RADIUS, dna.TWIST)
        return StringLaw(spacing, self.persistence or dna.RNA_PERSISTENCE, dna.RNA_RADIUS, dna.TWIST)


def place_chains(
    canvas: Canvas,
    spec: ChainSpec,
    generator: np.random.Generator,
    *,
    resolution: float,
    species: Mapping[str, Template],
) -> int:
    """Grow and write the chains of a spec; how many found no room.

    Parameters
    ----------
    resolution
        A, of the density.
    species
        Templates by name, for ``beads``.

    Raises
    ------
    InputError
        If ``beads`` names no species.
    """
    bead = _bead(spec, canvas.voxel_size, resolution, species)
    ground = Ground.of(canvas, rim=_RIM if spec.cut else 0.0)
    missed, in_a_row = 0, 0
    for _ in range(int(generator.integers(spec.count[0], spec.count[1] + 1))):
        if in_a_row == _GIVE_UP:  # a search without success is the longest
            missed += 1
            continue
        ground.refresh(canvas)
        pieces = grow(ground, spec.law(), bead, spec.length, generator)
        if pieces:
            _write(canvas, spec, pieces, bead, resolution)
        in_a_row = 0 if pieces else in_a_row + 1
        missed += not pieces
    if missed:
        logger.warning("no place was found for %d of the %s chains; ask for fewer or shorter ones", missed, spec.kind)
    return missed


def _bead(spec: ChainSpec, voxel_size: float, resolution: float, species: Mapping[str, Template]) -> Bead | None:
    if spec.beads is None:
        return None
    if spec.beads in species:
        return Bead.of(species[spec.beads])
    if spec.beads == NUCLEOSOME:
        return Bead.nucleosome(voxel_size, resolution)
    known = ", ".join(dict.fromkeys((NUCLEOSOME, *species)))
    raise InputError(f"chain with beads {spec.beads!r}: no such species; known: {known}")


def _write(canvas: Canvas, spec: ChainSpec, pieces: Sequence[Piece], bead: Bead | None, resolution: float) -> None:
    """The string first, its beads after it; a voxel that both claim stays the string's."""
    fill, law = (dna.double_helix if spec.kind == "dna" else dna.single_strand), spec.law()
    drawn = [part for piece in pieces for part in (piece.string, piece.inside if bead and bead.drawn else None) if part]
    filled = [fill(part) for part in drawn]  # each part's first normal carries the phase
    trace = [part.points for piece in pieces for part in (piece.string, piece.inside) if part is not None]
    strand = Strand(
        spec.kind,
        Path(np.concatenate(trace), pieces[0].string.spacing),
        np.concatenate([atoms for atoms, _ in filled]),
        np.concatenate([masses for _, masses in filled]),
        law.radius,
        blur=dna.BLUR,
    )
    write_strand(canvas, strand, resolution, pieces=[piece.string for piece in pieces])
    for piece in pieces if bead is not None else ():
        assert bead is not None
        nearest = np.floor(piece.at / canvas.voxel_size + 0.5)
        if np.all((nearest >= 0) & (nearest < canvas.shape)):  # the others lie beyond the faces
            write_particle(canvas, bead.template, piece.at, rotations_of(piece.turn))
