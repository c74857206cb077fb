"""What a sample holds, in settings, and the order in which it is put together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.phantoms import FAMILIES, MASS_RANGE_KDA, Family, PhantomSpec
from cryoembed.simulate.density.structures import StructureSpec
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.bilayers import MembraneSpec, draw_profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.embedded import area_um2, place_membrane_proteins
from cryoembed.simulate.scene.envelope import Envelope, EnvelopeConfig, draw_envelope
from cryoembed.simulate.scene.membranes import (
    Membrane,
    block_gap,
    draw_membrane,
    place_membranes,
    settle,
)
from cryoembed.simulate.scene.objects import gold_bead
from cryoembed.simulate.scene.pack import (
    SIZE_CLASSES_KDA,
    Rules,
    check_species,
    place_counts,
    place_crowding,
    plan_counts,
    size_chances,
)
from cryoembed.simulate.scene.search import block_around
from cryoembed.simulate.scene.truth import STRUCTURES, Scene, shortfall

logger = logging.getLogger(__name__)


class SampleConfig(Config):
    """What is in a sample. Species are the sum of ``phantoms``, ``random_phantoms`` and ``structures``.

    How many particles there are is said by one of ``counts``, ``crowding`` and ``particles``. The first two search the
    volume until every voxel has been looked at; ``particles`` follows SHREC 2021, where a particle that finds no place
    in so many tries is skipped. Membrane proteins (structures with ``membrane: true``) are counted by
    ``membrane_proteins`` or ``membrane_protein_density``, or by name in ``counts``.
    """

    shape: tuple[int, int, int] = (96, 192, 192)  # z, y, x voxels
    voxel_size: float = Field(default=10.0, gt=0)  # A
    resolution: float = Field(default=12.0, gt=0)  # A, detail of the species before imaging
    phantoms: tuple[PhantomSpec, ...] = ()
    random_phantoms: int = Field(default=0, ge=0)  # drawn once, in every model
    fresh_phantoms: int = Field(default=0, ge=0)  # drawn anew for every model: endless variety
    mass_range_kda: tuple[float, float] = MASS_RANGE_KDA
    families: tuple[Family, ...] = FAMILIES
    structures: tuple[StructureSpec, ...] = ()
    structure_folder: Path = Path()  # where relative paths of structures start
    counts: dict[str, int] | int | None = None  # particles per species and model; or
    crowding: float | None = Field(default=None, gt=0, lt=1)  # fraction of the sample that macromolecules fill; or
    particles: tuple[int, int] | None = None  # of all species together, drawn one by one, skipped if no place is found
    size_shares: tuple[float, float, float, float, float] | None = None  # by volume: > 1000, 600, 200, 40 kDa, rest
    tries: int = Field(default=2000, ge=1)  # places looked at in each of four orientations
    stick_out: bool = False  # whether the volume's faces may cut particles
    margin: float = Field(default=0.0, ge=0)  # A between particles and the faces of the volume
    gap: float = Field(default=0.0, ge=0)  # A between particles
    envelope: EnvelopeConfig = EnvelopeConfig()  # the sample's shape
    vesicles: tuple[int, int] = (0, 0)
    membranes: tuple[MembraneSpec, ...] = ()  # more of them, by shape
    membrane_proteins: tuple[int, int] | None = None  # per model; or
    membrane_protein_density: tuple[float, float] | None = None  # per square micrometre of membrane
    fiducials: tuple[int, int] = (0, 0)
    fiducial_diameter: tuple[float, float] = (80.0, 120.0)  # A

    @model_validator(mode="after")
    def _consistent(self) -> SampleConfig:
        if min(self.shape) < 8:
            raise ValueError(f"shape {self.shape}: every side needs at least 8 voxels")
        if sum(way is not None for way in (self.counts, self.crowding, self.particles)) != 1:
            raise ValueError("give either counts or crowding or particles")
        if not (self.phantoms or self.random_phantoms or self.fresh_phantoms or self.structures):
            raise ValueError("no species: give phantoms, random_phantoms, fresh_phantoms or structures")
        if not 0 < self.mass_range_kda[0] <= self.mass_range_kda[1]:
            raise ValueError(f"mass_range_kda {self.mass_range_kda}: expected a rising range of positive masses")
        ranges = ("vesicles", "fiducials", "particles", "membrane_proteins", "membrane_protein_density")
        for name in (*ranges, "fiducial_diameter"):
            low, high = getattr(self, name) or (0, 0)
            if not 0 <= low <= high:
                raise ValueError(f"{name} {low, high}: expected a range of counts")
        if self.size_shares is not None and (min(self.size_shares) < 0 or not sum(self.size_shares) > 0):
            raise ValueError(f"size_shares {self.size_shares}: expected {len(SIZE_CLASSES_KDA)} shares, none negative")
        if self.size_shares is not None and self.counts is not None:
            raise ValueError("size_shares are for crowding or particles; counts say themselves how many of which")
        if self.stick_out and self.margin > 0:
            raise ValueError(
                f"stick_out lets the faces cut particles, margin {self.margin:g} keeps them away: drop one"
            )
        if self.membrane_proteins is not None and self.membrane_protein_density is not None:
            raise ValueError("give either membrane_proteins or membrane_protein_density")
        return self

    @property
    def structure_labels(self) -> tuple[str, ...]:
        """Classes that are no species which this sample may hold, in the order of `STRUCTURES`."""
        held = {spec.label for spec in self.membranes if spec.count[1] > 0}
        if self.vesicles[1] > 0:
            held.add("vesicle")
        if self.envelope.kind == "cell" and self.envelope.membrane:
            held.add("membrane")
        if self.fiducials[1] > 0:
            held.add("fiducial")
        return tuple(label for label in STRUCTURES if label in held)


def compose(
    config: SampleConfig, templates: Sequence[Template], generator: np.random.Generator, *, tomogram: str = "model_0"
) -> Scene:
    """Put a sample together.

    First its shape, then membranes with their proteins, gold, filaments, and the species from the largest to the
    smallest (SHREC 2021, section 2.1; CryoETSim, thesis section 3.3).

    Parameters
    ----------
    templates
        The species of this sample, at its voxel size.
    generator
        Everything random comes from it.
    tomogram
        Name in the particle table.

    Raises
    ------
    InputError
        If settings contradict each other or the species, or a particle is larger than the sample. Crowding or counts
        that can't be reached are no error: the scene says what was reached, and a warning is logged.
    """
    rules = Rules(tries=config.tries, exhaustive=config.particles is None, stick_out=config.stick_out)
    envelope = draw_envelope(config.envelope, config.shape, config.voxel_size, generator)
    free = [template for template in templates if not template.membrane]
    embedded = [template for template in templates if template.membrane]
    check_species(free, _room(config, envelope), config.voxel_size, config.margin)
    check_species(templates, (float("inf"),), config.voxel_size, 0)
    canvas = Canvas(
        config.shape,
        config.voxel_size,
        gap=config.gap,
        margin=config.margin,
        classes=(*(template.name for template in templates), *config.structure_labels),
    )
    if envelope.sample_mask is not None:
        canvas.confine(envelope.sample_mask)
    membranes = _place_membranes(canvas, config, envelope, generator)
    missed = _place_embedded(canvas, config, embedded, membranes, generator, rules)
    for membrane in membranes:
        block_gap(canvas, membrane)
        settle(canvas, membrane, generator)
    _place_gold(canvas, config, envelope, generator)
    if envelope.cell_mask is not None:
        canvas.confine(envelope.cell_mask)
    room = float(np.prod(config.shape)) if envelope.room is None else float(envelope.room.sum())
    if free:
        missed |= _place_species(canvas, config, free, room, generator, rules)
    if envelope.cell_mask is not None and config.envelope.cytosol > 0:
        between = envelope.cell_mask & (canvas.occupancy == 0)
        np.add(canvas.density, np.float32(config.envelope.cytosol), out=canvas.density, where=between)
    scene = Scene(
        canvas.density,
        canvas.class_mask,
        canvas.occupancy,
        canvas.particles(tomogram),
        canvas.classes,
        config.voxel_size,
        canvas.filled / max(room, 1.0),
        missed,
        sample_mask=envelope.sample_mask,
        cell_mask=envelope.cell_mask,
        filaments=canvas.filaments(),
    )
    if (text := shortfall(scene, config.crowding)) is not None:
        logger.warning("%s: %s", tomogram, text)
    return scene


def _place_membranes(
    canvas: Canvas, config: SampleConfig, envelope: Envelope, generator: np.random.Generator
) -> list[Membrane]:
    placed: list[Membrane] = []
    if envelope.cell is not None and config.envelope.membrane:
        found = draw_membrane(canvas, envelope.cell, draw_profile(MembraneSpec(), generator), "membrane")
        placed += [] if found is None else [found]
    cut_by = envelope.sample_mask if config.envelope.kind == "lamella" else None
    for spec in (MembraneSpec(kind="ellipsoid", count=config.vesicles), *config.membranes):
        count = _draw(spec.count, generator)
        placed += place_membranes(canvas, spec, count, generator, inside=envelope.cell_mask, cut_by=cut_by)
    return placed


def _place_gold(canvas: Canvas, config: SampleConfig, envelope: Envelope, generator: np.random.Generator) -> None:
    """Beads anywhere in the ice, never inside a cell."""
    if config.fiducials[1] == 0:
        return
    cell, before = envelope.cell_mask, canvas.blocked
    if cell is not None:
        canvas.blocked = before | cell
    for _ in range(_draw(config.fiducials, generator)):
        bead = gold_bead(generator, config.voxel_size, diameter_range=config.fiducial_diameter)
        if not canvas.place_solid(bead, canvas.label_id("fiducial"), generator, config.tries):
            logger.warning("no place was found for one more gold bead; ask for fewer")
            break
    if cell is not None:
        gold = canvas.class_mask == canvas.label_id("fiducial")
        canvas.blocked = before | gold
        block_around(canvas.blocked, np.argwhere(gold), canvas.gap)


def _place_embedded(
    canvas: Canvas,
    config: SampleConfig,
    templates: Sequence[Template],
    membranes: Sequence[Membrane],
    generator: np.random.Generator,
    rules: Rules,
) -> dict[str, int]:
    """Membrane proteins; label -> how many of those asked for by name found no place."""
    if not templates:
        return {}
    names = [template.name for template in templates]
    named = {name: n for name, n in config.counts.items() if name in names} if isinstance(config.counts, dict) else {}
    ranged, dense = config.membrane_proteins, config.membrane_protein_density
    if not (named or ranged or dense):
        raise InputError(
            f"membrane proteins {', '.join(names)}: give membrane_proteins, membrane_protein_density or counts by name"
        )
    if not {"vesicle", "membrane"} & set(config.structure_labels):
        raise InputError(f"membrane proteins {', '.join(names)} need membranes; give vesicles or membranes")
    if named:
        plan = plan_counts(templates, named)
    else:
        area = area_um2(membranes, config.voxel_size)
        number = _draw(ranged, generator) if ranged else round(generator.uniform(*dense or (0, 0)) * area)
        plan = [int(index) for index in generator.integers(len(templates), size=number)]
    missed = place_membrane_proteins(canvas, templates, plan, membranes, generator, threshold=rules.threshold)
    if missed and not named:
        logger.info("%d of %d membrane proteins found no place", sum(missed.values()), len(plan))
    return missed if named else {}


def _place_species(
    canvas: Canvas,
    config: SampleConfig,
    templates: Sequence[Template],
    room: float,
    generator: np.random.Generator,
    rules: Rules,
) -> dict[str, int]:
    """Everything that swims freely; label -> how many of those asked for found no place."""
    if config.crowding is not None:
        chances = size_chances(templates, config.size_shares, rules)
        place_crowding(canvas, templates, chances, config.crowding * room, generator, rules)
        return {}
    if config.particles is not None:
        chances = size_chances(templates, config.size_shares, rules)
        number = _draw(config.particles, generator)
        plan = [int(index) for index in generator.choice(len(templates), size=number, p=chances)]
        skipped = place_counts(canvas, templates, plan, generator, rules)
        if skipped:
            logger.info("%d of %d particles were skipped for want of a place", sum(skipped.values()), number)
        return {}
    names = [template.name for template in templates]
    counts = config.counts if isinstance(config.counts, dict) else dict.fromkeys(names, config.counts or 0)
    embedded = set(canvas.classes) - set(names)
    plan = plan_counts(templates, {name: n for name, n in counts.items() if name not in embedded})
    return place_counts(canvas, templates, plan, generator, rules)


def _room(config: SampleConfig, envelope: Envelope) -> tuple[float, float, float]:
    """Voxels along z, y and x that hold whole particles; infinite where faces may cut them."""
    depth, height, width = config.shape
    if config.stick_out:
        return (float("inf") if envelope.sample_mask is None else envelope.thickness_vox, float("inf"), float("inf"))
    return (min(envelope.thickness_vox, depth), height, width)


def _draw(bounds: tuple[int, int], generator: np.random.Generator) -> int:
    return int(generator.integers(bounds[0], bounds[1] + 1))
