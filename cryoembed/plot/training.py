"""Curves of a training: losses and monitors over steps, from the records of the JSON-lines log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cryoembed.errors import InputError
from cryoembed.plot.style import COLOURS, styled


def training_figure(
    records: Sequence[Mapping[str, Any]],
    *,
    panels: Sequence[Sequence[str]] | None = None,
    step: str = "step",
    log_scale: bool = False,
    title: str = "",
) -> go.Figure:
    """Draw numbers over steps, one panel under the other.

    Parameters
    ----------
    records
        One mapping per log line; keys may be missing in some.
    panels
        Which keys share a panel; None: everything numeric whose name holds ``loss`` above, the rest each on its own.
    step
        The key of the horizontal axis.

    Raises
    ------
    InputError
        If no record has the step or no key has numbers.
    """
    kept = [record for record in records if _is_number(record.get(step))]
    keys = [key for key in dict.fromkeys(k for record in kept for k in record) if key != step]
    numeric = [key for key in keys if any(_is_number(record.get(key)) for record in kept)]
    if not numeric:
        raise InputError(f"the log holds no numbers over {step!r}: nothing to draw")
    groups = [list(panel) for panel in panels] if panels else _default_panels(numeric)
    figure = make_subplots(len(groups), 1, shared_xaxes=True, vertical_spacing=0.06)
    for row, group in enumerate(groups, start=1):
        for at, key in enumerate(group):
            points = [(record[step], record[key]) for record in kept if _is_number(record.get(key))]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            line = {"color": COLOURS[at % len(COLOURS)], "width": 1.8, "dash": "solid" if at < len(COLOURS) else "dot"}
            mode = "lines" if len(x) > 1 else "markers"
            named = len(group) > 1  # a panel of one curve has its name on the axis
            figure.add_trace(go.Scatter(x=x, y=y, mode=mode, name=key, line=line, showlegend=named), row=row, col=1)
        figure.update_yaxes(title=group[0] if len(group) == 1 else "loss", row=row, col=1)
        if log_scale and any("loss" in key for key in group):
            figure.update_yaxes(type="log", row=row, col=1)
    figure.update_xaxes(title=step, row=len(groups), col=1)
    return styled(figure, title=title, height=180 + 170 * len(groups))


def _default_panels(keys: Sequence[str]) -> list[list[str]]:
    losses = [key for key in keys if "loss" in key.lower()]
    return ([losses] if losses else []) + [[key] for key in keys if key not in losses]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))
