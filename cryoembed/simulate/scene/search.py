"""Where a particle fits: compiled tests of its voxels against those that are taken, tried or exhaustive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.compiled import compiled

Blocked = npt.NDArray[np.bool_]  # (z, y, x)
Offsets = npt.NDArray[np.int64]  # (n, 3) zyx, voxels of a particle from its centre
_GOLDEN = 0.6180339887498949


def first_free(blocked: Blocked, offsets: Offsets, places: Offsets, *, may_stick_out: bool = False) -> int:
    """Index of the first of (m, 3) places around which all offsets are free; -1 if there is none.

    Voxels outside of the volume count as free if the particle may stick out (some must lie inside), else as taken.
    """
    if len(offsets) == 0 or len(places) == 0:
        return -1
    return int(_first_free(blocked, _probing_order(offsets), np.ascontiguousarray(places, np.int64), may_stick_out))


def any_free(
    blocked: Blocked,
    offsets: Offsets,
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    generator: np.random.Generator,
    *,
    may_stick_out: bool = False,
) -> npt.NDArray[np.int64] | None:
    """Some free place with ``low <= place <= high``, every one of them looked at; None if there is none.

    Rows are met in a scrambled order, so that the place found is one of all free places at random (nearly: along x a
    place behind a taken stretch is met more often). Most voxels are ruled out by
    one or two look-ups: all of 96 x 192 x 192 voxels take 15 to 30 ms, as long as the Fourier transforms that correlate
    one window of three box lengths with the particle.
    """
    if len(offsets) == 0 or (high < low).any():
        return None
    size = high - low + 1
    rows = int(size[0] * size[1])
    step = max(1, int(rows * _GOLDEN))
    while np.gcd(step, rows) != 1:
        step += 1
    found = np.empty(3, dtype=np.int64)
    start = int(generator.integers(rows))
    along = int(generator.integers(size[2]))
    ok = _scan(blocked, _probing_order(offsets), low, size, start, step, along, may_stick_out, found)
    return found if ok else None


def free_but_for(
    blocked: Blocked, occupancy: npt.NDArray[np.int32], allowed_id: int, offsets: Offsets, at: npt.NDArray[np.int64]
) -> bool:
    """Whether all voxels lie in the volume and are free or belong to the object ``allowed_id`` (a membrane)."""
    return bool(_free_but_for(blocked, occupancy, allowed_id, np.ascontiguousarray(offsets), at))


def block_around(blocked: Blocked, voxels: Offsets, reach: float) -> None:
    """Block all that is not farther than ``reach`` (voxels) from these (n, 3) voxels, which lie in the volume."""
    edge = np.arange(-int(reach), int(reach) + 1)
    ball = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, 3)
    _block(blocked, np.ascontiguousarray(voxels), ball[(ball**2).sum(axis=1) <= reach**2])


def _probing_order(offsets: Offsets) -> Offsets:
    """Offsets in a fixed scrambled order: neighbours tell the same, voxels far apart rule a place out soon."""
    step = max(1, int(len(offsets) * _GOLDEN))
    while np.gcd(step, len(offsets)) != 1:
        step += 1
    return np.ascontiguousarray(offsets[np.arange(len(offsets)) * step % len(offsets)], dtype=np.int64)


@compiled()
def _fits(blocked: Blocked, offsets: Offsets, z: int, y: int, x: int, may_stick_out: bool) -> bool:  # pragma: no cover
    depth, height, width = blocked.shape
    inside = 0
    for n in range(offsets.shape[0]):
        i, j, k = z + offsets[n, 0], y + offsets[n, 1], x + offsets[n, 2]
        if i < 0 or j < 0 or k < 0 or i >= depth or j >= height or k >= width:
            if may_stick_out:
                continue
            return False
        if blocked[i, j, k]:
            return False
        inside += 1
    return inside > 0


@compiled()
def _first_free(blocked: Blocked, offsets: Offsets, places: Offsets, may_stick_out: bool) -> int:  # pragma: no cover
    for n in range(places.shape[0]):
        if _fits(blocked, offsets, places[n, 0], places[n, 1], places[n, 2], may_stick_out):
            return n
    return -1


@compiled()
def _scan(
    blocked: Blocked,
    offsets: Offsets,
    low: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    start: int,
    step: int,
    along: int,
    may_stick_out: bool,
    found: npt.NDArray[np.int64],
) -> bool:  # pragma: no cover
    rows = size[0] * size[1]
    for n in range(rows):
        row = (start + n * step) % rows
        z, y = low[0] + row // size[1], low[1] + row % size[1]
        first = (along + 7919 * n) % size[2]
        for m in range(size[2]):
            x = low[2] + (first + m) % size[2]
            if _fits(blocked, offsets, z, y, x, may_stick_out):
                found[0], found[1], found[2] = z, y, x
                return True
    return False


@compiled()
def _free_but_for(
    blocked: Blocked,
    occupancy: npt.NDArray[np.int32],
    allowed_id: int,
    offsets: Offsets,
    at: npt.NDArray[np.int64],
) -> bool:  # pragma: no cover
    depth, height, width = blocked.shape
    for n in range(offsets.shape[0]):
        i, j, k = at[0] + offsets[n, 0], at[1] + offsets[n, 1], at[2] + offsets[n, 2]
        if i < 0 or j < 0 or k < 0 or i >= depth or j >= height or k >= width:
            return False
        if blocked[i, j, k] and occupancy[i, j, k] != allowed_id:
            return False
    return True


@compiled()
def _block(blocked: Blocked, voxels: Offsets, ball: Offsets) -> None:  # pragma: no cover
    depth, height, width = blocked.shape
    for n in range(voxels.shape[0]):
        for m in range(ball.shape[0]):
            i, j, k = voxels[n, 0] + ball[m, 0], voxels[n, 1] + ball[m, 1], voxels[n, 2] + ball[m, 2]
            if 0 <= i < depth and 0 <= j < height and 0 <= k < width:
                blocked[i, j, k] = True
