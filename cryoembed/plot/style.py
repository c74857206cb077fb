"""What all figures share: fonts, colours that colour-blind readers can tell apart, margins that survive printing."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

# Okabe and Ito 2008, black last; after eight classes the marker shape changes as well
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#444444")
SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "star", "x", "pentagon")
SCORE_SCALE = "Viridis"
UNKNOWN = "#B8BDC4"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
INK = "#1F2933"
GRID = "#E4E7EB"


def styled(figure: go.Figure, *, title: str = "", height: int = 420) -> go.Figure:
    """Give a figure the house style in place and return it."""
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0.01, "xanchor": "left"} if title else None,
        template="plotly_white",
        font={"family": FONT, "size": 12, "color": INK},
        height=height,
        margin={"l": 56, "r": 16, "t": 48 if title else 32, "b": 44},
        legend={"itemsizing": "constant", "font": {"size": 11}},
        paper_bgcolor="white",
        plot_bgcolor="white",
    )
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID)
    return figure


def colour_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each distinct name, in sorted order; the empty name is grey."""
    known = sorted({name for name in names if name})
    chosen = {
        name: (COLOURS[at % len(COLOURS)], SYMBOLS[at // len(COLOURS) % len(SYMBOLS)]) for at, name in enumerate(known)
    }
    return chosen | {"": (UNKNOWN, "circle")}
