"""Slices of tomograms with particles on them: raw beside denoised beside hits, three planes, or a series in depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cryoembed.errors import InputError
from cryoembed.particles import Particles
from cryoembed.plot.overlays import Overlay, draw_overlay
from cryoembed.plot.planes import ACROSS, AXIS, NM, Plane, draw_image, plane_image, richest_position
from cryoembed.plot.style import styled
from cryoembed.tomogram import Tomogram

__all__ = ["Overlay", "montage_figure", "orthogonal_figure", "slice_figure"]


def slice_figure(
    panels: Mapping[str, Tomogram],
    *,
    position: float | None = None,
    plane: Plane = "z",
    thickness: float = 0.0,
    overlays: Mapping[str, Sequence[Overlay]] | None = None,
    max_side: int = 640,
    title: str = "",
) -> go.Figure:
    """Show one plane of several volumes of the same scene side by side.

    Parameters
    ----------
    panels
        Title -> volume; each is placed by its own voxel size and origin.
    position
        A along ``plane``'s axis in the parent frame; None: the plane richest in overlaid particles, else the middle.
    thickness
        A; slices within it are averaged (0: one slice).
    overlays
        Panel title -> what to draw on it.
    max_side
        Pictures are shrunk to at most so many pixels a side.

    Raises
    ------
    InputError
        If there is no panel or the position lies outside a volume.
    """
    if not panels:
        raise InputError("a slice figure needs at least one volume")
    drawn = dict(overlays or {})
    where = _choose_position(next(iter(panels.values())), drawn, plane) if position is None else position
    figure = make_subplots(
        1, len(panels), subplot_titles=list(panels), shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.03
    )
    legend: set[str] = set()
    for column, (name, tomogram) in enumerate(panels.items(), start=1):
        image = plane_image(tomogram, where, plane=plane, thickness=thickness)
        draw_image(figure, image, tomogram, plane, row=1, column=column, max_side=max_side)
        for overlay in drawn.get(name, ()):
            draw_overlay(figure, overlay, where, plane, row=1, column=column, legend=legend)
    first = next(iter(panels.values()))
    vertical, horizontal = (first.size_angstrom[axis] for axis in ACROSS[plane])
    height = int(np.clip(1040 / len(panels) * vertical / horizontal, 200, 900)) + 150
    caption = title or f"{plane} = {where * NM:.1f} nm"
    return _finish(figure, caption, height)


def orthogonal_figure(
    tomogram: Tomogram,
    *,
    centre_zyx: npt.ArrayLike | None = None,
    overlays: Sequence[Overlay] = (),
    max_side: int = 480,
    title: str = "",
) -> go.Figure:
    """Show the three planes through one point (A, zyx, parent frame; None: the middle) of a volume to scale."""
    middle = np.asarray(tomogram.to_angstrom(np.asarray(tomogram.shape) // 2))
    centre = middle if centre_zyx is None else np.asarray(centre_zyx, dtype=np.float64)
    z, y, x = tomogram.size_angstrom
    figure = make_subplots(
        2, 2,
        column_widths=[x, z], row_heights=[y, z], horizontal_spacing=0.08, vertical_spacing=0.12,
        subplot_titles=[f"{axis} = {centre[AXIS[axis]] * NM:.1f} nm" for axis in ("z", "x", "y")],
    )  # fmt: skip
    legend: set[str] = set()
    places: tuple[tuple[Plane, int, int], ...] = (("z", 1, 1), ("x", 1, 2), ("y", 2, 1))
    for plane, row, column in places:
        where = float(centre[AXIS[plane]])
        image = plane_image(tomogram, where, plane=plane)
        draw_image(figure, image, tomogram, plane, row=row, column=column, max_side=max_side)
        for overlay in overlays:
            draw_overlay(figure, overlay, where, plane, row=row, column=column, legend=legend)
    return _finish(figure, title or tomogram.name, int(np.clip(900 * (y + z) / (x + z), 320, 1000)) + 120)


def montage_figure(
    tomogram: Tomogram,
    *,
    count: int = 6,
    columns: int = 3,
    overlays: Sequence[Overlay] = (),
    thickness: float = 0.0,
    max_side: int = 360,
    title: str = "",
) -> go.Figure:
    """Show ``count`` z slices spread evenly through a volume."""
    depths = tomogram.origin[0] + (np.arange(count) + 0.5) / count * (tomogram.shape[0] - 1) * tomogram.voxel_size
    rows = -(-count // columns)
    figure = make_subplots(
        rows, columns,
        subplot_titles=[f"z = {depth * NM:.1f} nm" for depth in depths], shared_xaxes="all", shared_yaxes="all",
        horizontal_spacing=0.02, vertical_spacing=0.12 / rows,
    )  # fmt: skip
    legend: set[str] = set()
    for at, depth in enumerate(depths):
        row, column = at // columns + 1, at % columns + 1
        image = plane_image(tomogram, float(depth), thickness=thickness)
        draw_image(figure, image, tomogram, "z", row=row, column=column, max_side=max_side)
        if at + columns < count:
            figure.update_xaxes(title="", row=row, col=column)
        for overlay in overlays:
            draw_overlay(figure, overlay, float(depth), "z", row=row, column=column, legend=legend)
    _, y, x = tomogram.size_angstrom
    return _finish(
        figure, title or tomogram.name, int(np.clip(1040 / columns * y / x, 120, 700)) * rows + 100 + 24 * rows
    )


def _choose_position(tomogram: Tomogram, overlays: Mapping[str, Sequence[Overlay]], plane: Plane) -> float:
    shown = [overlay for group in overlays.values() for overlay in group]
    everything = Particles.concatenate([overlay.particles for overlay in shown])
    return richest_position(tomogram, everything, plane=plane, within=min((o.within for o in shown), default=100.0))


def _finish(figure: go.Figure, title: str, height: int) -> go.Figure:
    styled(figure, title=title, height=height)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.004, "yanchor": "bottom"},
        margin={"t": 64, "b": 72},
    )
    figure.update_annotations(font={"size": 12})
    return figure
