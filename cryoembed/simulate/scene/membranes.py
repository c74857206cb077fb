"""Where membranes lie: drawn shapes that meet nothing else, written to the canvas slab by slab."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoembed.rotations import matrices_zyx, random_rotations
from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.bilayers import MembraneSpec, Profile, draw_profile
from cryoembed.simulate.scene.canvas import Canvas, Shape, Window
from cryoembed.simulate.scene.surfaces import Ellipsoid, Sheet, Surface, Torus, draw_waves

logger = logging.getLogger(__name__)

_SLAB = 1_000_000  # voxels of a surface looked at in one go: bounds memory
_TRIES = 20  # places per size
_SHRINK = (1.0, 0.7, 0.5, 0.3)  # of the largest radius, where the larger find no place
_COARSE = 4  # voxels between those looked at first


@dataclass(frozen=True, eq=False)
class Membrane:
    """One that was placed: its id, its shape, and the voxels (n, 3) that its (outer) middle runs through."""

    instance: int
    surface: Surface
    profile: Profile
    middle: npt.NDArray[np.int32]
    two_sided: bool  # a sheet has no inside


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


def draw_membrane(
    canvas: Canvas, surface: Surface, profile: Profile, label: str, *, cut_by: Mask | None = None
) -> Membrane | None:
    """Write a membrane's density and truth where it lies in the volume; None, and nothing written, if nowhere."""
    middles = []
    instance = canvas.claim_row({"label": label, **_zyx(surface.centre)})
    for window, distance in _slabs(canvas, surface, profile, canvas.voxel_size):
        density, mask = profile.density(distance, canvas.voxel_size), profile.near(distance)
        if cut_by is not None:
            density *= cut_by[window]
            mask &= cut_by[window]
        canvas.write_window(window, density, mask, canvas.label_id(label))
        middle = np.argwhere(mask & (np.abs(distance) < 0.5 * canvas.voxel_size))
        middles.append((middle + [part.start for part in window]).astype(np.int32))
    found = np.concatenate(middles) if middles else np.zeros((0, 3), dtype=np.int32)
    if len(found) == 0:
        canvas.drop_row(instance)
        return None
    return Membrane(instance, surface, profile, found, isinstance(surface, Sheet))


def block_gap(canvas: Canvas, membrane: Membrane) -> None:
    """Keep the gap around a membrane free from now on (after the proteins that sit in it)."""
    if canvas.gap <= 0:
        return
    reach = canvas.gap * canvas.voxel_size
    for window, distance in _slabs(canvas, membrane.surface, membrane.profile, reach):
        canvas.blocked[window] |= membrane.profile.near(distance, reach)


def settle(canvas: Canvas, membrane: Membrane, generator: np.random.Generator) -> None:
    """Give a row of class "membrane" a position which its id marks (the middle of a ring is empty)."""
    row = canvas.rows[membrane.instance - 1]
    if row["label"] == "vesicle":
        return  # the centre, as in SHREC 2021: its lumen
    own = canvas.occupancy[tuple(membrane.middle.T)] == membrane.instance
    points = membrane.middle[own] if own.any() else np.argwhere(canvas.occupancy == membrane.instance)
    if len(points):
        row.update(_zyx(points[int(generator.integers(len(points)))] * canvas.voxel_size))


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
        for window, distance in _slabs(canvas, surface, profile, gap, step=step):
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


def _slabs(
    canvas: Canvas, surface: Surface, profile: Profile, extra: float, *, step: int = 1
) -> Iterator[tuple[Window, npt.NDArray[np.float32]]]:
    """Windows of the volume that a membrane may lie in, and the distance of each of their voxels to its surface."""
    shape: Shape = canvas.shape
    reach = surface.reach + profile.half + 3 * profile.head_sigma + surface.waves.highest + extra
    low, high = [], []
    for centre, size in zip(surface.centre, shape, strict=True):
        first = (centre - reach) / canvas.voxel_size
        last = (centre + reach) / canvas.voxel_size
        low.append(int(max(np.floor(first), 0)) if np.isfinite(first) else 0)
        high.append(int(min(np.ceil(last) + 1, size)) if np.isfinite(last) else size)
    if any(b <= a for a, b in zip(low, high, strict=True)):
        return
    axes = [
        np.arange(a, b, step, dtype=np.float32) * np.float32(canvas.voxel_size) for a, b in zip(low, high, strict=True)
    ]
    deep = max(1, _SLAB // (len(axes[1]) * len(axes[2])))
    y, x = axes[1][None, :, None], axes[2][None, None, :]
    for start in range(0, len(axes[0]), deep):
        z = axes[0][start : start + deep, None, None]
        first = low[0] + start * step
        window = (
            slice(first, first + step * (len(z) - 1) + 1, step),
            slice(low[1], high[1], step),
            slice(low[2], high[2], step),
        )
        yield window, np.asarray(surface.distance(z, y, x), dtype=np.float32)


def _zyx(point: npt.NDArray[np.float64]) -> dict[str, object]:
    return dict(zip("zyx", (float(value) for value in point), strict=True))
