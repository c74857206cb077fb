"""Where membranes lie: shapes drawn at random until they meet nothing else."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cryoembed.rotations import matrices_zyx, random_rotations
from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.bilayers import MembraneSpec, Profile, draw_profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.membrane_voxels import Membrane, draw_membrane, slabs
from cryoembed.simulate.scene.surfaces import Ellipsoid, Sheet, Surface, Torus, draw_waves

logger = logging.getLogger(__name__)

_TRIES = 20  # places per size
_SHRINK = (1.0, 0.7, 0.5, 0.3)  # of the largest radius, where the larger find no place
_COARSE = 4  # voxels between those looked at first


def place_membranes(
    canvas: Canvas,
    spec: MembraneSpec,
    count: int,
    generator: np.random.Generator,
    *,
    inside: Mask | None = None,
    cut_by: Mask | None = None,
) -> list[Membrane]:
    """Place so many membranes of a kind at random; fewer, with a warning, if they find no place.

    Parameters
    ----------
    inside
        (z, y, x) where they have to stay (a cell).
    cut_by
        (z, y, x) a sample whose faces cut them (a milled lamella).
    """
    placed: list[Membrane] = []
    for _ in range(count):
        found = None
        for largest in _SHRINK:
            drawn = draw_profile(spec, generator)
            for _ in range(_TRIES):
                surface = _draw(canvas, spec, drawn, largest, generator, [one.surface for one in placed])
                profile = drawn.within(surface)
                if _fits(canvas, surface, profile, inside, cut_by, spec.stick_out):
                    found = draw_membrane(canvas, surface, profile, spec.label, cut_by=cut_by)
                    break
            if found is not None:
                break
        if found is None:
            logger.warning("no place was found for one more membrane (%s); ask for fewer or smaller ones", spec.kind)
            break
        placed.append(found)
    return placed


def _draw(
    canvas: Canvas,
    spec: MembraneSpec,
    profile: Profile,
    largest: float,
    generator: np.random.Generator,
    others: list[Surface],
) -> Surface:
    """A shape of random size and orientation, its centre anywhere it may be."""
    last = (np.array(canvas.shape) - 1) * canvas.voxel_size
    shape = _shape(spec, largest, generator, others, last)
    low = np.zeros(3)
    if not spec.stick_out and not isinstance(shape, Sheet):
        low = np.minimum(shape.extent + profile.half + shape.waves.highest, last / 2)
    return replace(shape, centre=generator.uniform(low, last - low))


def _shape(
    spec: MembraneSpec,
    largest: float,
    generator: np.random.Generator,
    others: list[Surface],
    last: npt.NDArray[np.float64],
) -> Surface:
    nowhere = np.zeros(3)
    axes = matrices_zyx(random_rotations(1, generator))[0]
    amplitude = generator.uniform(*spec.undulation)
    waves = draw_waves(generator, amplitude, spec.wavelength, in_plane=spec.kind == "flat")
    if spec.kind == "flat":
        if others and generator.random() < 0.7:  # planes in any two directions meet: most lie along those before
            axes = _tilted(others[-1].axes, generator)
        return Sheet(nowhere, axes, waves)
    high = min(spec.radius[1], 0.45 * float(np.sort(last)[1]))
    high = max(high * largest, min(spec.radius[0], high))
    radius = generator.uniform(min(spec.radius[0], high), high)
    if spec.kind == "torus":
        minor = min(generator.uniform(*spec.minor_radius), 0.6 * radius)
        return Torus(nowhere, axes, waves, radius, minor)
    aspect = np.exp(generator.normal(0, 0.12, size=3)) if spec.kind == "ellipsoid" else np.ones(3)
    return Ellipsoid(nowhere, axes, waves, radius * aspect / np.prod(aspect) ** (1 / 3))


def _tilted(axes: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    normal = axes[0] + 0.05 * generator.normal(size=3)
    rows, _ = np.linalg.qr(np.stack([normal, axes[1], axes[2]]).T)
    return np.asarray(rows.T * np.sign(rows.T[0] @ normal), dtype=np.float64)


def _fits(
    canvas: Canvas,
    surface: Surface,
    profile: Profile,
    inside: Mask | None,
    cut_by: Mask | None,
    may_stick_out: bool,
) -> bool:
    """Whether a membrane meets nothing that is there; looked at coarsely first, then in full."""
    extent = surface.extent + profile.half + surface.waves.highest
    last = (np.array(canvas.shape) - 1) * canvas.voxel_size
    closed = not isinstance(surface, Sheet)
    if closed and not may_stick_out and ((surface.centre < extent).any() or (surface.centre + extent > last).any()):
        return False
    gap = canvas.gap * canvas.voxel_size
    for step in (_COARSE, 1):
        met = False
        for window, distance in slabs(canvas, surface, profile, gap, step=step):
            near = profile.near(distance, gap)
            taken = canvas.blocked[window]
            if cut_by is not None:
                taken = taken & cut_by[window]
                met |= bool((near & cut_by[window]).any())
            if inside is not None:
                taken = taken | ~inside[window]
            if (near & taken).any():
                return False
            met |= cut_by is None and bool(near.any())
    return met
