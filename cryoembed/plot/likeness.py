"""Tilt series beside a recorded one: level and spread of every tilt, and power over spatial frequency."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cryoembed.evaluate.realism import BIN_WIDTH, SeriesStatistics
from cryoembed.plot.style import COLOURS, styled


def likeness_figure(
    series: Mapping[str, SeriesStatistics], tilts_deg: npt.ArrayLike, *, tilt: int | None = None, title: str = ""
) -> go.Figure:
    """Mean and s.d. over the tilts, and the radial power of one tilt on a logarithmic axis.

    Parameters
    ----------
    series
        Name -> what a series looks like, all in the same unit; the first is drawn as a line (the yardstick), the others
        as marks.
    tilts_deg
        (t,) of the images.
    tilt
        Index of the tilt whose power is shown; default the middle one.
    """
    tilts = np.asarray(tilts_deg, dtype=np.float64)
    shown = len(tilts) // 2 if tilt is None else tilt
    figure = make_subplots(
        1, 3, subplot_titles=("mean", "s.d.", f"power at {round(tilts[shown])}°"), horizontal_spacing=0.08
    )
    for at, (name, one) in enumerate(series.items()):
        frequency = (np.arange(one.power.shape[1]) + 0.5) * BIN_WIDTH
        curves = ((tilts, one.mean), (tilts, one.standard_deviation), (frequency, one.power[shown]))
        for column, (x, y) in enumerate(curves, start=1):
            figure.add_trace(
                go.Scatter(
                    x=x, y=y, name=name, legendgroup=name, showlegend=column == 1,
                    mode="lines" if at == 0 else "markers",
                    line={"color": COLOURS[at], "width": 2},
                    marker={"color": COLOURS[at], "size": 6, "symbol": ("circle", "circle", "x", "diamond")[at % 4]},
                ),
                row=1, col=column,
            )  # fmt: skip
    for column in (1, 2):
        figure.update_xaxes(title="tilt (°)", row=1, col=column)
        figure.update_yaxes(rangemode="tozero", row=1, col=column)
    figure.update_xaxes(title="cycles / pixel", row=1, col=3)
    figure.update_yaxes(type="log", row=1, col=3)
    styled(figure, title=title, height=380)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.22}, margin={"b": 84, "t": 72})
    return figure
