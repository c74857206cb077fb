"""Gold beads in a sample: outside of cells, with room kept around them."""

from __future__ import annotations

import logging

import numpy as np

from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.objects import gold_bead
from cryoembed.simulate.scene.placing import place_solid
from cryoembed.simulate.scene.sample import SampleConfig, draw_count
from cryoembed.simulate.scene.search import block_around

logger = logging.getLogger(__name__)


def place_gold(canvas: Canvas, config: SampleConfig, cell: Mask | None, generator: np.random.Generator) -> None:
    """Beads anywhere in the ice, never inside a cell ((z, y, x), or None where the sample is no cell)."""
    if config.fiducials[1] == 0:
        return
    before = canvas.blocked
    if cell is not None:
        canvas.blocked = before | cell
    for _ in range(draw_count(config.fiducials, generator)):
        bead = gold_bead(generator, config.voxel_size, diameter_range=config.fiducial_diameter)
        if not place_solid(canvas, bead, canvas.label_id("fiducial"), generator, config.tries):
            logger.warning("no place was found for one more gold bead; ask for fewer")
            break
    if cell is not None:
        gold = canvas.class_mask == canvas.label_id("fiducial")
        canvas.blocked = before | gold
        block_around(canvas.blocked, np.argwhere(gold), canvas.gap)
