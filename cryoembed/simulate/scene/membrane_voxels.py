"""Membranes as voxels: a surface's bilayer written to the canvas, slab by slab so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.bilayers import Profile
from cryoembed.simulate.scene.canvas import Canvas, Shape, Window
from cryoembed.simulate.scene.surfaces import Sheet, Surface

_SLAB = 1_000_000  # voxels of a surface looked at in one go: bounds memory


@dataclass(frozen=True, eq=False)
class Membrane:
    """One that was placed: its id, its shape, and the voxels (n, 3) that its (outer) middle runs through."""

    instance: int
    surface: Surface
    profile: Profile
    middle: npt.NDArray[np.int32]
    two_sided: bool  # a sheet has no inside


def draw_membrane(
    canvas: Canvas, surface: Surface, profile: Profile, label: str, *, cut_by: Mask | None = None
) -> Membrane | None:
    """Write a membrane's density and truth where it lies in the volume; None, and nothing written, if nowhere."""
    middles = []
    instance = canvas.claim_row({"label": label, **_zyx(surface.centre)})
    for window, distance in slabs(canvas, surface, profile, canvas.voxel_size):
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
    for window, distance in slabs(canvas, membrane.surface, membrane.profile, reach):
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


def slabs(
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
