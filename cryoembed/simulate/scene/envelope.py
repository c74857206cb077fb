"""The shape of a sample: how thick it is, and where in the volume there are ice, cell or nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.canvas import Shape
from cryoembed.simulate.scene.surfaces import Ellipsoid, draw_waves

logger = logging.getLogger(__name__)

SampleKind = Literal["full", "slab", "lamella", "cell"]
Range = tuple[float, float]
_SKIN = 30.0  # A: the outer half of the membrane around a cell
_WAVY = 0.25  # of half a cell's thickness: larger amplitudes would leave nothing of it
_COLUMNS = 61  # per axis, in which a cell's thickness is measured
_COVER = 150.0  # A of ice over a cell, which the heads of its membrane proteins need


class EnvelopeConfig(Config):
    """The sample's shape; lengths in nm, each drawn uniformly from its range.

    ``full``: sample fills the volume. ``slab``: ice between two flat faces (CryoETSim: 60 to 100 nm). ``lamella``: a
    milled slab, its faces wavy and a little tilted. ``cell``: a whole cell, roundish, thick in the middle and thin at its
    edge, bounded by a membrane, in a film of ice where only gold is (such as the Mycoplasma of EMPIAR-10499).
    """

    kind: SampleKind = "full"
    thickness_nm: Range = Field((60.0, 100.0), description="of the slab, the lamella, or the cell where it is thickest")
    tilt_deg: Range = Field((0.0, 4.0), description="of a lamella's faces, each on its own")
    waviness_nm: Range = Field((0.0, 5.0), description="amplitude of a lamella's faces, or of a cell's outline")
    radius_nm: Range = Field((150.0, 300.0), description="of a cell in the plane, each of two semi-axes")
    offset_nm: Range = Field((0.0, 100.0), description="of the cell's middle from the volume's, in the plane")
    ice_nm: Range = Field((30.0, 80.0), description="thickness of the film around a cell; 0: nothing around it")
    membrane: bool = Field(True, description="whether a membrane bounds the cell")

    @model_validator(mode="after")
    def _rising(self) -> EnvelopeConfig:
        for name in ("thickness_nm", "tilt_deg", "waviness_nm", "radius_nm", "offset_nm", "ice_nm"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (name in ("thickness_nm", "radius_nm") and low == 0):
                raise ValueError(f"{name} {low, high}: expected a rising range, none negative")
        if self.tilt_deg[1] > 30:
            raise ValueError(f"tilt_deg {self.tilt_deg}: expected less than 30 degrees")
        return self


@dataclass(frozen=True, eq=False)
class Envelope:
    """A drawn shape.

    Parameters
    ----------
    sample_mask, cell_mask
        (z, y, x) bool: where ice or sample is; inside the cell. None: everywhere; no cell.
    cell
        The cell's outline.
    thickness_vox
        Of the sample, or of the cell where it is thickest.
    """

    thickness_vox: float
    sample_mask: Mask | None = None
    cell_mask: Mask | None = None
    cell: Ellipsoid | None = None

    @property
    def room(self) -> Mask | None:
        """Where particles may be."""
        return self.sample_mask if self.cell_mask is None else self.cell_mask


def draw_envelope(config: EnvelopeConfig, shape: Shape, voxel_size: float, generator: np.random.Generator) -> Envelope:
    """Draw a sample's shape in the middle of the volume.

    Raises
    ------
    InputError
        If the sample may be thicker than the volume, or nothing of it lies inside.
    """
    if config.kind == "full":
        return Envelope(shape[0])
    depth = shape[0] * voxel_size / 10
    if config.thickness_nm[1] > depth + 1e-6:
        raise InputError(
            f"envelope: a sample {config.thickness_nm[1]:g} nm thick does not fit into a volume {depth:g} nm deep "
            f"({shape[0]} voxels); lower thickness_nm or make the volume deeper"
        )
    thickness = generator.uniform(*config.thickness_nm) * 10 / voxel_size
    if config.kind == "cell":
        return _cell(config, shape, voxel_size, thickness, generator)
    lower = np.full(shape[1:], (shape[0] - 1 - thickness) / 2)
    upper = np.full(shape[1:], (shape[0] - 1 + thickness) / 2)
    if config.kind == "lamella":
        room = max((shape[0] - thickness) / 2, 0.0)
        lower += _within(_face(config, shape, voxel_size, generator), room)
        upper += _within(_face(config, shape, voxel_size, generator), room)
    mask = _between(lower, upper, shape)
    if not mask.any():
        raise InputError("envelope: nothing is left between the faces of the lamella; lower tilt_deg or waviness_nm")
    return Envelope(thickness, mask)


def _cell(
    config: EnvelopeConfig, shape: Shape, voxel_size: float, thickness: float, generator: np.random.Generator
) -> Envelope:
    """An ellipsoid, flat side in the plane, in a film of ice that swells around it."""
    middle = (np.array(shape) - 1) / 2 * voxel_size
    away, direction = generator.uniform(*config.offset_nm) * 10, generator.uniform(0, 2 * np.pi)
    centre = middle + away * np.array([0, np.sin(direction), np.cos(direction)])
    turn = generator.uniform(0, 2 * np.pi)
    axes = np.array([[1, 0, 0], [0, np.cos(turn), np.sin(turn)], [0, -np.sin(turn), np.cos(turn)]])
    semi = np.array([thickness * voxel_size / 2, *(generator.uniform(*config.radius_nm, size=2) * 10)])
    amplitude = min(generator.uniform(*config.waviness_nm) * 10, _WAVY * semi[0])
    waves = draw_waves(generator, amplitude, (1000.0, 4000.0), in_plane=True)
    cell = _as_thick(Ellipsoid(centre, axes, waves, semi), thickness * voxel_size)
    z, y, x = (np.arange(size, dtype=np.float32) * np.float32(voxel_size) for size in shape)
    inside, sample = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for index, height in enumerate(z):  # one slice at a time: distances take four times the room of masks
        distance = cell.distance(height.reshape(1, 1), y[:, None], x[None, :])
        inside[index], sample[index] = distance < 0, distance < _SKIN
    if not inside.any():
        raise InputError(
            f"envelope: the cell lies outside of the volume ({away / 10:.0f} nm from its middle); lower offset_nm"
        )
    film = generator.uniform(*config.ice_nm) * 10 / voxel_size
    if film > 0:
        half = np.maximum(film / 2, _tallest(inside, shape, _COVER / voxel_size))
        sample |= _between((shape[0] - 1) / 2 - half, (shape[0] - 1) / 2 + half, shape)
    return Envelope(thickness, sample, inside, cell)


def _as_thick(cell: Ellipsoid, thickness: float) -> Ellipsoid:
    """The cell with its first semi-axis such that, undulations and all, it is so thick (A) where it is thickest."""
    v, w = np.meshgrid(*(np.linspace(-half, half, _COLUMNS) for half in cell.semi[1:]), indexing="ij")
    columns = cell.centre + v.reshape(-1, 1) * cell.axes[1] + w.reshape(-1, 1) * cell.axes[2]
    for _ in range(4):
        low, high = np.zeros(len(columns)), np.full(len(columns), cell.semi[0] + cell.waves.highest)
        for _ in range(14):
            middle = (low + high) / 2
            inside = cell.at(columns + middle[:, None] * cell.axes[0]) < 0
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        semi = cell.semi + np.array([thickness / 2 - low.max(), 0.0, 0.0])
        cell = replace(cell, semi=semi)
    return cell


def _tallest(inside: Mask, shape: Shape, cover: float) -> npt.NDArray[np.float64]:
    """(y, x) how far the ice reaches from the middle plane to cover the cell, falling off softly around it."""
    from scipy import ndimage

    away = np.abs(np.arange(shape[0]) - (shape[0] - 1) / 2)
    height = (inside * away[:, None, None]).max(axis=0)
    ice = np.where(height > 0, height + cover, 0)
    return np.asarray(np.maximum(ndimage.gaussian_filter(ice, cover), ice), dtype=np.float64)


def _face(
    config: EnvelopeConfig, shape: Shape, voxel_size: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(y, x) voxels by which a lamella's face lies above its mean."""
    slope = np.tan(np.radians(generator.uniform(*config.tilt_deg)))
    direction = generator.uniform(0, 2 * np.pi)
    y, x = (np.arange(size) - (size - 1) / 2 for size in shape[1:])
    plane = slope * (np.sin(direction) * y[:, None] + np.cos(direction) * x[None, :])
    amplitude = generator.uniform(*config.waviness_nm) * 10
    waves = draw_waves(generator, amplitude, (1000.0, 4000.0), in_plane=True)
    height = waves.height((np.zeros((1, 1)), y[:, None] * voxel_size, x[None, :] * voxel_size))
    return np.asarray(plane + np.asarray(height) / voxel_size, dtype=np.float64)


def _within(face: npt.NDArray[np.float64], room: float) -> npt.NDArray[np.float64]:
    """The face, flattened to fit into the volume: ``room`` voxels above and below its mean."""
    highest = float(np.abs(face).max())
    if highest <= room:
        return face
    logger.warning(
        "lamella: a face that rises by %.0f voxels is flattened to %.0f, the volume's room; make the volume deeper",
        highest,
        room,
    )
    return face * (room / highest)


def _between(lower: npt.NDArray[np.float64], upper: npt.NDArray[np.float64], shape: Shape) -> Mask:
    z = np.arange(shape[0])[:, None, None]
    return np.asarray((z >= lower) & (z <= upper), dtype=np.bool_)
