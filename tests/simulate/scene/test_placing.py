"""Finding room: tried at random, then looked for everywhere."""

from __future__ import annotations

from cryoembed.simulate.density.template import MASK_THRESHOLD
from cryoembed.simulate.scene.placing import place

VOXEL = 10.0


def test_a_hole_that_fits_is_found_when_all_else_is_taken(species, generator):
    """One free corner in a full volume: random tries would miss it, the search does not."""
    from cryoembed.simulate.scene.canvas import Canvas

    canvas = Canvas((60, 60, 60), VOXEL, gap=0, margin=0, classes=("blob",))
    edge = species[0].box_vox
    canvas.blocked[:] = True
    canvas.blocked[30 : 30 + edge, 5 : 5 + edge, 40 : 40 + edge] = False
    assert not place(canvas, species[0], 1, generator, MASK_THRESHOLD, 20)
    assert place(canvas, species[0], 1, generator, MASK_THRESHOLD, 20, exhaustive=True)
