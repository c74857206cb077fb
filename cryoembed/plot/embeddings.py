"""Embeddings in the plane, and what clusters look like: scatter with hover, montage of medoids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from cryoembed.errors import InputError
from cryoembed.plot.image import data_uri, tile_images, to_grey
from cryoembed.plot.style import SCORE_SCALE, colour_of, styled

CELL_PX = 128
SVG_LIMIT = 4000  # above it WebGL draws: faster, but it does not print sharp


def embedding_scatter(
    coordinates: npt.ArrayLike,
    *,
    colour: Sequence[Any] | npt.NDArray[Any] | None = None,
    hover: Mapping[str, Sequence[Any] | npt.NDArray[Any]] | None = None,
    title: str = "",
    axes: tuple[str, str] = ("UMAP 1", "UMAP 2"),
    max_points: int = 50_000,
    seed: int = 0,
) -> go.Figure:
    """Scatter 2D coordinates of embeddings.

    Parameters
    ----------
    coordinates
        (n, 2), from `mining.reduce`.
    colour
        (n,) labels or cluster numbers (categories), or floats (a continuous score); None: one colour.
    hover
        Column name -> (n,) values shown at the pointer.
    max_points
        Above it a random sample (by ``seed``) is drawn, and the title says so.

    Raises
    ------
    InputError
        If lengths differ or there are no points.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InputError(f"expected (n, 2) coordinates with n > 0, got shape {points.shape}")
    columns = {name: np.asarray(values) for name, values in (hover or {}).items()}
    values = None if colour is None else np.asarray(colour)
    for name, column in {**columns, **({} if values is None else {"colour": values})}.items():
        if len(column) != len(points):
            raise InputError(f"{name}: {len(column)} values for {len(points)} points")
    note = ""
    if len(points) > max_points:
        rows = np.sort(np.random.default_rng(seed).choice(len(points), max_points, replace=False))
        note = f" ({max_points:,} of {len(points):,} points, random sample)"
        points, values = points[rows], None if values is None else values[rows]
        columns = {name: column[rows] for name, column in columns.items()}
    figure = go.Figure()
    draw = go.Scatter if len(points) <= SVG_LIMIT else go.Scattergl
    size = float(np.clip(9 - np.log10(len(points)) * 1.6, 2.5, 8))
    texts = _texts(columns, len(points))
    if values is not None and np.issubdtype(values.dtype, np.floating):
        marker = {
            "size": size,
            "color": values,
            "colorscale": SCORE_SCALE,
            "showscale": True,
            "colorbar": {"thickness": 12},
        }
        figure.add_trace(_points(draw, points, texts, marker, ""))
    else:
        names = np.array(["" for _ in points]) if values is None else np.array([_category(value) for value in values])
        palette = colour_of(names.tolist())
        for name in sorted(set(names.tolist()), key=_natural):
            rows = names == name
            fill, symbol = palette[name]
            marker = {"size": size, "color": fill, "symbol": symbol, "opacity": 0.8, "line": {"width": 0}}
            label = f"{name or 'unlabelled'} ({int(rows.sum())})"
            figure.add_trace(_points(draw, points[rows], texts[rows], marker, label))
        figure.update_layout(showlegend=values is not None)
    figure.update_xaxes(title=axes[0], showticklabels=False, zeroline=False)
    figure.update_yaxes(title=axes[1], showticklabels=False, zeroline=False, scaleanchor="x", scaleratio=1)
    return styled(figure, title=title + note, height=560)


def medoid_montage(
    boxes: npt.NDArray[Any], titles: Sequence[str], *, columns: int = 8, thickness: int = 3, title: str = ""
) -> go.Figure:
    """Show one box per cluster as three orthogonal central slices (z, y, x planes from top to bottom).

    Parameters
    ----------
    boxes
        (k, box, box, box) subtomograms, particles bright: medoids or averages.
    titles
        (k,) captions, such as ``"3: ribosome (120)"``.
    thickness
        Central slices that are averaged per view.

    Raises
    ------
    InputError
        If there are no boxes or the captions do not match.
    """
    if boxes.ndim != 4 or not len(boxes) or len(boxes) != len(titles):
        raise InputError(f"expected (k, box, box, box) boxes and k captions, got {boxes.shape} and {len(titles)}")
    columns = min(columns, len(boxes))
    rows = -(-len(boxes) // columns)
    enlarge = max(1, CELL_PX // boxes.shape[-1])  # whole pixels, or the browser blurs the voxels
    cells = [
        tile_images([to_grey(view).repeat(enlarge, 0).repeat(enlarge, 1) for view in _views(box, thickness)], columns=1)
        for box in boxes
    ]
    height, width = cells[0].shape
    step_x, step_y = width * 1.12, height + 0.45 * width
    figure = go.Figure()
    for at, (cell, caption) in enumerate(zip(cells, titles, strict=True)):
        x, y = at % columns * step_x, -(at // columns) * step_y
        figure.add_layout_image(
            source=data_uri(cell), x=x, y=y, sizex=width, sizey=height, xref="x", yref="y",
            xanchor="left", yanchor="top", sizing="stretch", layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=x, y=y, text=caption, showarrow=False, xanchor="left", yanchor="bottom", font={"size": 11}
        )
    right, bottom = columns * step_x, -(rows * step_y)
    figure.add_trace(
        go.Scatter(x=[0, right], y=[0.4 * width, bottom], mode="markers", marker={"opacity": 0}, hoverinfo="skip")
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.02 * right, right])
    figure.update_yaxes(visible=False, range=[bottom, 0.45 * width], scaleanchor="x", scaleratio=1)
    styled(figure, title=title, height=int(np.clip(1040 * (-bottom + 0.45 * width) / right, 220, 1800)) + 60)
    figure.update_layout(margin={"l": 8, "r": 8, "b": 8})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _views(box: npt.NDArray[Any], thickness: int) -> list[npt.NDArray[np.float32]]:
    views = []
    for axis in range(3):
        start = max(box.shape[axis] // 2 - thickness // 2, 0)
        views.append(np.take(box, range(start, min(start + thickness, box.shape[axis])), axis=axis).mean(axis=axis))
    return [np.asarray(view, dtype=np.float32) for view in views]


def _points(draw: Any, points: npt.NDArray[Any], texts: npt.NDArray[Any], marker: dict[str, Any], name: str) -> Any:
    x, y = np.round(points, 4).T
    return draw(x=x, y=y, mode="markers", marker=marker, text=texts, hoverinfo="text", name=name)


def _texts(columns: Mapping[str, npt.NDArray[Any]], count: int) -> npt.NDArray[Any]:
    lines = ["" for _ in range(count)]
    for name, values in columns.items():
        shown = (f"{v:.3g}" if isinstance(v, float | np.floating) else str(v) for v in values)
        lines = [f"{line}<br>{name}: {v}" if line else f"{name}: {v}" for line, v in zip(lines, shown, strict=True)]
    return np.array(lines, dtype=object)


def _category(value: Any) -> str:
    return "" if value is None else str(value)


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers in order of size, then words, the unlabelled last."""
    if not name:
        return (2, 0.0, "")
    number = name.removeprefix("-")
    return (0, float(name), "") if number.isdigit() else (1, 0.0, name)
