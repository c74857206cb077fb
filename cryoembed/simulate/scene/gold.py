"""Gold beads in a sample: outside of cells, with room kept around them."""

from __future__ import annotations

import numpy as np

from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.objects import gold_bead
from cryoembed.simulate.scene.placing import place_solid
from cryoembed.simulate.scene.sample import SampleConfig, draw_count
from cryoembed.simulate.scene.search import block_around


def place_gold(canvas: Canvas, config: SampleConfig, cell: Mask | None, generator: np.random.Generator) -> int:
    """Beads anywhere in the ice, never inside a cell ((z, y, x) or None: no cell); how many found no place."""
    if config.fiducials[1] == 0:
        return 0
    before = canvas.blocked
    if cell is not None:
        canvas.blocked = before | cell
    count, missed = draw_count(config.fiducials, generator), 0
    for done in range(count):
        bead = gold_bead(generator, config.voxel_size, diameter_range=config.fiducial_diameter)
        if not place_solid(canvas, bead, canvas.label_id("fiducial"), generator, config.tries):
            missed = count - done
            break
    if cell is not None:
        gold = canvas.class_mask == canvas.label_id("fiducial")
        canvas.blocked = before | gold
        block_around(canvas.blocked, np.argwhere(gold), canvas.gap)
    return missed
