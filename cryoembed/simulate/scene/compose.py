"""How a sample is put together, in the order that leaves room for all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.bilayers import MembraneSpec, draw_profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.complexes import with_complexes
from cryoembed.simulate.scene.crowding import (
    Rules,
    check_species,
    place_counts,
    place_crowding,
    plan_counts,
    size_chances,
)
from cryoembed.simulate.scene.cytosol import add_cytosol
from cryoembed.simulate.scene.embedded import area_um2, place_membrane_proteins
from cryoembed.simulate.scene.envelope import Envelope, draw_envelope
from cryoembed.simulate.scene.gold import place_gold
from cryoembed.simulate.scene.membrane_voxels import Membrane, block_gap, draw_membrane, settle
from cryoembed.simulate.scene.membranes import place_membranes
from cryoembed.simulate.scene.polymers import place_polymers
from cryoembed.simulate.scene.sample import SampleConfig, draw_count
from cryoembed.simulate.scene.truth import Scene, shortfall

logger = logging.getLogger(__name__)


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
    templates = with_complexes(config.complexes, templates)
    envelope = draw_envelope(config.envelope, config.shape, config.voxel_size, generator)
    subunits = {spec.structure for spec in config.filaments} - set(
        config.counts if isinstance(config.counts, dict) else ()
    )
    free = [template for template in templates if not template.membrane and template.name not in subunits]
    embedded = [template for template in templates if template.membrane]
    check_species(free, _room(config, envelope), config.voxel_size, config.margin)
    check_species(templates, (float("inf"),), config.voxel_size, 0)
    canvas = Canvas(
        config.shape,
        config.voxel_size,
        gap=config.gap,
        margin=config.margin,
        classes=tuple(dict.fromkeys((*(template.name for template in templates), *config.structure_labels))),
    )
    if envelope.sample_mask is not None:
        canvas.confine(envelope.sample_mask)
    membranes = _place_membranes(canvas, config, envelope, generator)
    missed = _place_embedded(canvas, config, embedded, membranes, generator, rules)
    for membrane in membranes:
        block_gap(canvas, membrane)
        settle(canvas, membrane, generator)
    place_gold(canvas, config, envelope.cell_mask, generator)
    if envelope.cell_mask is not None:
        canvas.confine(envelope.cell_mask)
    missed |= place_polymers(
        canvas,
        config.filaments,
        config.chains,
        templates,
        generator,
        resolution=config.resolution,
        room=envelope.room,
    )
    room = float(np.prod(config.shape)) if envelope.room is None else float(envelope.room.sum())
    if free:
        missed |= _place_species(canvas, config, free, room, generator, rules)
    if config.cytosol > 0:
        between = canvas.occupancy == 0 if envelope.room is None else envelope.room & (canvas.occupancy == 0)
        add_cytosol(canvas.density, between, config.cytosol, config.voxel_size, generator)
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
        count = draw_count(spec.count, generator)
        placed += place_membranes(canvas, spec, count, generator, inside=envelope.cell_mask, cut_by=cut_by)
    return placed


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
        number = draw_count(ranged, generator) if ranged else round(generator.uniform(*dense or (0, 0)) * area)
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
        number = draw_count(config.particles, generator)
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
