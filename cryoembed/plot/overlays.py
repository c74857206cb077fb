"""Particles drawn on a plane: rings to scale, coloured by label or score, with everything known at the pointer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from cryoembed.particles import Particles
from cryoembed.plot.planes import ACROSS, AXIS, NM, Plane
from cryoembed.plot.style import SCORE_SCALE, colour_of

ColourBy = Literal["score", "label"]


@dataclass(frozen=True)
class Overlay:
    """Particles drawn as rings: ``radius`` A, if ``within`` A of the slice; ``colour`` None: by score or label."""

    name: str
    particles: Particles
    radius: float = 100.0
    within: float = 100.0
    colour: str | None = None
    colour_by: ColourBy = "label"


def draw_overlay(
    figure: go.Figure, overlay: Overlay, where: float, plane: Plane, *, row: int, column: int, legend: set[str]
) -> None:
    axis = AXIS[plane]
    apart = np.abs(overlay.particles.positions_zyx[:, axis] - where)
    near = overlay.particles.select(apart <= overlay.within)
    if not len(near):
        return
    labels = near.labels.astype(str)
    if overlay.colour is not None or overlay.colour_by == "score":
        groups = [("", np.ones(len(near), dtype=bool))]
    else:
        groups = [(str(name), labels == name) for name in np.unique(labels)]
    palette = colour_of(list(overlay.particles.labels.astype(str)))
    for label, rows in groups:
        name = f"{overlay.name}: {label}" if label else overlay.name
        if overlay.colour is None and overlay.colour_by == "score":
            _draw_by_score(figure, overlay, near, plane, row=row, column=column, first=name not in legend)
        else:
            colour = overlay.colour or palette[label][0]
            _draw_rings(
                figure, near.select(rows), overlay.radius, plane,
                name=name, colour=colour, row=row, column=column, first=name not in legend,
            )  # fmt: skip
        legend.add(name)


def _draw_rings(
    figure: go.Figure, particles: Particles, radius: float, plane: Plane, *,
    name: str, colour: str, row: int, column: int, first: bool,
) -> None:  # fmt: skip
    """All rings as one line trace (gaps between them): true to scale at any zoom, and few bytes."""
    vertical, horizontal = ACROSS[plane]
    turn = np.linspace(0, 2 * np.pi, 25)
    positions = particles.positions_zyx
    x = positions[:, horizontal, None] + radius * np.cos(turn)
    y = positions[:, vertical, None] + radius * np.sin(turn)
    figure.add_trace(
        go.Scatter(
            x=_with_gaps(x * NM), y=_with_gaps(y * NM), mode="lines", line={"color": colour, "width": 1.6},
            name=name, legendgroup=name, showlegend=first, hoverinfo="skip",
        ),
        row=row, col=column,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=np.round(positions[:, horizontal] * NM, 2), y=np.round(positions[:, vertical] * NM, 2), mode="markers",
            marker={"color": colour, "size": 3}, text=_hover(particles), hoverinfo="text",
            name=name, legendgroup=name, showlegend=False,
        ),
        row=row, col=column,
    )  # fmt: skip


def _draw_by_score(
    figure: go.Figure, overlay: Overlay, particles: Particles, plane: Plane, *, row: int, column: int, first: bool
) -> None:
    vertical, horizontal = ACROSS[plane]
    positions, scores = particles.positions_zyx, particles.column("score", 0.0)
    everything = overlay.particles.column("score", 0.0)
    figure.add_trace(
        go.Scatter(
            x=np.round(positions[:, horizontal] * NM, 2), y=np.round(positions[:, vertical] * NM, 2), mode="markers",
            marker={
                "symbol": "circle-open", "size": 13, "line": {"width": 2}, "color": np.round(scores, 4),
                "colorscale": SCORE_SCALE, "cmin": float(np.min(everything)), "cmax": float(np.max(everything)),
                "showscale": first, "colorbar": {"title": "score", "thickness": 12, "len": 0.8},
            },
            text=_hover(particles), hoverinfo="text", name=overlay.name, showlegend=False,
        ),
        row=row, col=column,
    )  # fmt: skip


def _hover(particles: Particles) -> list[str]:
    scores = particles.column("score", np.nan)
    labels, positions = particles.labels, particles.positions_zyx
    return [
        f"{label or 'particle'}{'' if np.isnan(score) else f', score {score:.3f}'}"
        f"<br>z, y, x = {z:.0f}, {y:.0f}, {x:.0f} A"
        for label, score, (z, y, x) in zip(labels, scores, positions, strict=True)
    ]


def _with_gaps(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, k) curves -> one row with a NaN after each, so that plotly lifts the pen."""
    return np.round(np.concatenate([points, np.full((len(points), 1), np.nan)], axis=1).reshape(-1), 2)
