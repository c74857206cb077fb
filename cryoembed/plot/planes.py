"""One plane of a volume: which voxels it holds, where it lies, and how it is drawn to scale as a small picture.

Axes are in nm in the parent frame; row 0 lies at the bottom, so that y grows upwards as in IMOD.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from cryoembed.errors import InputError
from cryoembed.particles import Particles
from cryoembed.plot.image import data_uri, shrink, to_grey
from cryoembed.tomogram import Tomogram

Plane = Literal["z", "y", "x"]  # named by the axis that it cuts
AXIS = {"z": 0, "y": 1, "x": 2}
ACROSS = {"z": (1, 2), "y": (0, 2), "x": (1, 0)}  # (vertical, horizontal) array axes of each plane
NM = 0.1  # nm per A


def plane_image(
    tomogram: Tomogram, position: float, *, plane: Plane = "z", thickness: float = 0.0
) -> npt.NDArray[np.float32]:
    """(vertical, horizontal) mean of the slices within ``thickness`` (A) of a position (A, parent frame).

    Raises
    ------
    InputError
        If the position lies outside the volume.
    """
    axis = AXIS[plane]
    size, voxel = tomogram.shape[axis], tomogram.voxel_size
    centre = (position - tomogram.origin[axis]) / voxel
    if not -0.5 <= centre <= size - 0.5:
        low, high = tomogram.origin[axis], tomogram.origin[axis] + (size - 1) * voxel
        raise InputError(
            f"{tomogram.name}: {plane} = {position:.0f} A lies outside the volume ({low:.0f}..{high:.0f} A)"
        )
    nearest = int(np.clip(np.floor(centre + 0.5), 0, size - 1))
    half = int(thickness / voxel / 2)
    chosen = [slice(None)] * 3
    chosen[axis] = slice(max(nearest - half, 0), nearest + half + 1)
    image = np.asarray(tomogram.data[tuple(chosen)], dtype=np.float32).mean(axis=axis)
    return np.asarray(image.T if plane == "x" else image)  # x plane: (z, y) -> vertical y, horizontal z


def richest_position(tomogram: Tomogram, particles: Particles, *, plane: Plane = "z", within: float = 100.0) -> float:
    """The slice (A) with the most particles within ``within`` A; the middle where there are none inside."""
    axis = AXIS[plane]
    inside = particles.select(tomogram.contains(particles.positions_zyx)) if len(particles) else particles
    slices = tomogram.origin[axis] + np.arange(tomogram.shape[axis]) * tomogram.voxel_size
    if not len(inside):
        return float(slices[len(slices) // 2])
    depths = np.sort(inside.positions_zyx[:, axis])
    counts = np.searchsorted(depths, slices + within, "right") - np.searchsorted(depths, slices - within, "left")
    best = np.flatnonzero(counts == counts.max())
    return float(slices[best[len(best) // 2]])


def draw_image(
    figure: go.Figure,
    image: npt.NDArray[Any],
    tomogram: Tomogram,
    plane: Plane,
    *,
    row: int,
    column: int,
    max_side: int,
) -> None:
    vertical, horizontal = ACROSS[plane]
    voxel = tomogram.voxel_size
    low_v, low_h = (tomogram.origin[axis] - voxel / 2 for axis in (vertical, horizontal))  # outer edge of voxel 0
    size_v, size_h = image.shape[0] * voxel, image.shape[1] * voxel
    # row 0 at the bottom: the PNG's first line is its top
    picture = data_uri(np.flipud(to_grey(shrink(image, max_side))))
    figure.add_layout_image(
        source=picture, x=low_h * NM, y=(low_v + size_v) * NM, sizex=size_h * NM, sizey=size_v * NM,
        xanchor="left", yanchor="top", sizing="stretch", layer="below", row=row, col=column,
    )  # fmt: skip
    ends_h, ends_v = [low_h * NM, (low_h + size_h) * NM], [low_v * NM, (low_v + size_v) * NM]
    # an invisible trace: plotly places an image on axes only where the subplot has data
    figure.add_trace(
        go.Scatter(x=ends_h, y=ends_v, mode="markers", marker={"opacity": 0}, showlegend=False, hoverinfo="skip"),
        row=row, col=column,
    )  # fmt: skip
    axes = figure.get_subplot(row, column)
    same = axes.yaxis.plotly_name.replace("axis", "")
    figure.update_xaxes(
        range=ends_h, showgrid=False, zeroline=False, constrain="domain", scaleanchor=same, scaleratio=1,
        title={"text": f"{'zyx'[horizontal]} (nm)", "standoff": 4}, row=row, col=column,
    )  # fmt: skip
    figure.update_yaxes(
        range=ends_v, showgrid=False, zeroline=False, constrain="domain", constraintoward="top",
        title={"text": f"{'zyx'[vertical]} (nm)", "standoff": 4} if column == 1 else None, row=row, col=column,
    )  # fmt: skip
