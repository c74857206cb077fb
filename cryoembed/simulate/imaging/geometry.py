"""How a tilt series sees the sample: the tilt axis is y, a voxel at offsets (dz, dx) lies at u = dx cos t - dz sin t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.tilt_table import TiltTable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TiltGeometry:
    """Tilts and, for each of them, where the aligned image lies in the raw one.

    ``aligned(p) = raw(c + m R(a) p + shift)`` for offsets p from the centre c (index ``n // 2``), with m the
    magnification and R(a) the turn by a from the u axis towards the v axis. Numbers given once hold for all tilts.

    Attributes
    ----------
    tilts_deg
        (t,) tilt angles, in the order of the images.
    shifts_px
        (t, 2) [v, u] in pixels of the raw images.
    rotations_deg
        (t,) in-plane turns (Warp's ``AxisAngle``).
    magnifications
        (t,) above 1 where the raw image shows the sample larger.
    doses
        (t,) e/A^2 on the sample by the middle of each exposure, or None where unknown.
    """

    tilts_deg: Floats
    shifts_px: Floats = None  # type: ignore[assignment]  # zeros
    rotations_deg: Floats = None  # type: ignore[assignment]  # zeros
    magnifications: Floats = None  # type: ignore[assignment]  # ones
    doses: Floats | None = None

    def __post_init__(self) -> None:
        tilts = _numbers("tilts_deg", self.tilts_deg)
        if tilts.ndim != 1 or not len(tilts):
            raise InputError(f"tilts_deg has the shape {tilts.shape}; expected (t,) with at least one tilt")
        count = len(tilts)
        object.__setattr__(self, "tilts_deg", tilts)
        for name, shape, default in (
            ("shifts_px", (count, 2), 0.0),
            ("rotations_deg", (count,), 0.0),
            ("magnifications", (count,), 1.0),
        ):
            given = getattr(self, name)
            object.__setattr__(self, name, _per_tilt(name, default if given is None else given, shape))
        if np.any(self.magnifications <= 0):
            raise InputError(f"magnifications must be above 0, the least is {self.magnifications.min()}")
        if self.doses is not None:
            object.__setattr__(self, "doses", _per_tilt("doses", self.doses, (count,)))

    @classmethod
    def of_table(cls, table: TiltTable, pixel_size: float) -> TiltGeometry:
        """From a file's table (`cryoembed.io.tilt_series`); ``table.used`` is left to the caller.

        Its offsets are in A. Its doses are those before each exposure: half of what one exposure takes is added.
        """
        shifts = None if table.axis_offsets is None else table.axis_offsets / pixel_size
        doses = table.doses
        if doses is not None and len(steps := np.diff(np.unique(doses))):
            doses = doses + np.median(steps) / 2
        return cls(table.tilts_deg, shifts, table.axis_angles_deg, doses=doses)  # type: ignore[arg-type]

    @classmethod
    def of_xf(
        cls, tilts_deg: Floats, matrices: Floats, shifts_xy: Floats, image_shape: tuple[int, int]
    ) -> TiltGeometry:
        """From IMOD's transforms (`tilt_series.read_xf`) of images of a shape (v, u).

        IMOD turns about the middle of the image, (n - 1) / 2 as an index, and writes raw to aligned; a stretch or a
        mirror is refused.
        """
        back = np.linalg.inv(matrices)  # in x, y = u, v
        scale = np.sqrt(np.abs(np.linalg.det(back)))
        angle = np.arctan2(back[:, 1, 0] - back[:, 0, 1], back[:, 0, 0] + back[:, 1, 1])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        left = np.abs(back - np.moveaxis(scale * turn, 2, 0)).max(axis=(1, 2))
        if np.any(left > 0.01 * scale):
            row = int(np.argmax(left > 0.01 * scale)) + 1
            raise InputError(f"transform {row} stretches or mirrors the image; expected turn, magnification and shift")
        middle = np.array([(size - 1) / 2 - size // 2 for size in image_shape])
        shifts = -np.einsum("tij,tj->ti", back, np.asarray(shifts_xy))[:, ::-1] + middle
        return cls(tilts_deg, shifts, np.rad2deg(angle), scale)

    def __len__(self) -> int:
        return len(self.tilts_deg)

    @property
    def is_aligned(self) -> bool:
        """Whether the raw images are aligned already."""
        return not (self.shifts_px.any() or self.rotations_deg.any() or np.any(self.magnifications != 1))

    @property
    def inverse(self) -> TiltGeometry:
        """What aligns in the other direction: images resampled by it are raw ones, which this geometry aligns."""
        angles = np.deg2rad(self.rotations_deg)
        v, u = self.shifts_px.T
        back = np.stack([np.cos(angles) * v - np.sin(angles) * u, np.sin(angles) * v + np.cos(angles) * u], axis=1)
        shifts = -back / self.magnifications[:, None]
        return TiltGeometry(self.tilts_deg, shifts, -self.rotations_deg, 1 / self.magnifications, self.doses)

    def subset(self, indices: Sequence[int] | npt.NDArray[Any] | slice) -> TiltGeometry:
        """The same for some of the tilts."""
        return TiltGeometry(
            self.tilts_deg[indices],
            self.shifts_px[indices],
            self.rotations_deg[indices],
            self.magnifications[indices],
            None if self.doses is None else self.doses[indices],
        )

    def check_images(self, count: int) -> None:
        """Raise `InputError` unless there is one tilt per image."""
        if count != len(self):
            raise InputError(
                f"{count} tilt images came with {len(self)} tilts; give one tilt per image, in their order"
            )


def tilt_vectors(tilts_deg: npt.ArrayLike) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cosines and sines of tilts, checked: numbers, one axis, at least one of them."""
    tilts = np.deg2rad(TiltGeometry(np.atleast_1d(np.asarray(tilts_deg))).tilts_deg)
    return np.cos(tilts).astype(np.float32), np.sin(tilts).astype(np.float32)


def centre_index(shape: Sequence[int]) -> tuple[float, ...]:
    """Index of the centre along every axis, ``n // 2``."""
    return tuple(float(size // 2) for size in shape)


def _per_tilt(name: str, given: Any, shape: tuple[int, ...]) -> Floats:
    values = _numbers(name, given)
    if values.shape != shape and values.shape not in ((), shape[1:]):
        raise InputError(f"{name} has the shape {values.shape}; expected {shape}, one row per tilt")
    return np.broadcast_to(values, shape).copy()


def _numbers(name: str, given: Any) -> Floats:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds something that is no number; expected numbers, one per tilt") from None
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are not finite; drop those tilts, with their images")
    return values
