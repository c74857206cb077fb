"""Filaments and chains of a sample, in the order in which they are placed, and the labels they bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Mask, Template
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.chains import ChainSpec, place_chains
from cryoembed.simulate.scene.filaments import FilamentSpec, place_filaments


def polymer_labels(filaments: Sequence[FilamentSpec], chains: Sequence[ChainSpec]) -> list[str]:
    """Labels that filaments and chains bring with them: their kinds and their beads."""
    labels: list[str] = [spec.kind for spec in filaments]
    for spec in chains:
        labels += [spec.kind, *([spec.beads] if spec.beads is not None else [])]
    return list(dict.fromkeys(labels))


def place_polymers(
    canvas: Canvas,
    filaments: Sequence[FilamentSpec],
    chains: Sequence[ChainSpec],
    templates: Sequence[Template],
    generator: np.random.Generator,
    *,
    resolution: float,
    room: Mask | None = None,
) -> dict[str, int]:
    """Place stiff filaments first, then chains; label -> how many found no room.

    Parameters
    ----------
    room
        (z, y, x) where the sample (the cell) is; None: everywhere.

    Raises
    ------
    InputError
        If a spec names a species that is not among the templates, or asks for more length than the volume has.
    """
    species = {template.name: template for template in templates}
    missed: dict[str, int] = {}
    for spec in sorted(filaments, key=lambda spec: spec.kind != "microtubule"):  # the thicker first
        if spec.structure is not None and spec.structure not in species:
            raise InputError(f"{spec.kind} of {spec.structure!r}: no such species; known: {', '.join(species)}")
        subunit = None if spec.structure is None else species[spec.structure]
        lacking = place_filaments(canvas, spec, generator, resolution=resolution, subunit=subunit, room=room)
        missed[spec.kind] = missed.get(spec.kind, 0) + lacking
    for chain in sorted(chains, key=lambda chain: chain.beads is None):
        lacking = place_chains(canvas, chain, generator, resolution=resolution, species=species)
        missed[chain.kind] = missed.get(chain.kind, 0) + lacking
    return {label: count for label, count in missed.items() if count}
