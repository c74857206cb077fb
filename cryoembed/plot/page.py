"""One self-contained HTML page: text, tables, interactive figures; opens without server or network, and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from cryoembed.io.atomic import replacing

_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 24px 48px; background: #fff; color: #1f2933;
  font: 15px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 36px 0 6px; padding-top: 14px; border-top: 1px solid #e4e7eb; }
p { margin: 6px 0 10px; max-width: 80ch; }
.lead { color: #52606d; margin-bottom: 18px; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0 8px; padding: 0; list-style: none; }
.facts li { border: 1px solid #e4e7eb; border-radius: 6px; padding: 8px 14px; min-width: 108px; }
.facts b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; }
.facts span { color: #52606d; font-size: 12.5px; }
nav { font-size: 13.5px; margin: 10px 0; }
nav a { color: #0072b2; margin-right: 14px; text-decoration: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0 14px; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; border-bottom: 1px solid #e4e7eb; text-align: right; white-space: nowrap; }
th { color: #52606d; font-weight: 600; border-bottom: 2px solid #cbd2d9; }
th:first-child, td:first-child { text-align: left; padding-left: 2px; }
footer { margin-top: 40px; color: #7b8794; font-size: 12.5px; }
@page { size: A4 landscape; margin: 12mm; }
@media print { body { padding: 0; max-width: none; } nav { display: none; } h2 { break-after: avoid; }
  figure, table, .facts { break-inside: avoid; } }
figure { margin: 6px 0; }
"""
# plotly 7 offers by default to upload a chart to its maker's server: unpublished data must not leave by one stray click
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
}


@dataclass(frozen=True)
class Section:
    """A heading with text (blank lines separate paragraphs), a table of rows, and figures; each may be absent."""

    title: str
    text: str = ""
    table: Sequence[Mapping[str, object]] = ()
    figures: Sequence[go.Figure] = field(default_factory=tuple)


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    footer: str = "made by cryoembed",
) -> None:
    """Write the page; equal content gives an equal file.

    Parameters
    ----------
    path
        The .html file; it appears whole or not at all.
    lead
        One sentence under the title.
    facts
        The few figures a reader wants first, name -> value.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    html = page_html(title, sections, lead=lead, facts=facts, footer=footer)
    with replacing(Path(path)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def page_html(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    footer: str = "made by cryoembed",
) -> str:
    """The page as text; plotly's script is in it once, and only if there is a figure."""
    script = f"<script>{get_plotlyjs()}</script>" if any(section.figures for section in sections) else ""
    links = "".join(f'<a href="#s{at}">{escape(section.title)}</a>' for at, section in enumerate(sections))
    body = "".join(_section(at, section) for at, section in enumerate(sections))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style>{script}</head>\n'
        f"<body><h1>{escape(title)}</h1>{_paragraphs(lead, 'lead')}{_facts(facts or {})}"
        f"{f'<nav>{links}</nav>' if len(sections) > 2 else ''}\n{body}<footer>{escape(footer)}</footer></body></html>\n"
    )


def table_html(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as an HTML table; columns in order of first appearance, all text escaped."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("".join(f"<td>{escape(_cell(row.get(name, '')))}</td>" for name in columns) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _section(at: int, section: Section) -> str:
    # fixed ids: plotly's own are random, and equal pages would differ
    figures = "".join(
        "<figure>"
        + figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{at}-{number}", config=_CONFIG)
        + "</figure>"
        for number, figure in enumerate(section.figures)
    )
    return (
        f'<section id="s{at}"><h2>{escape(section.title)}</h2>{_paragraphs(section.text)}'
        f"{table_html(section.table)}{figures}</section>\n"
    )


def _paragraphs(text: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return "".join(f"<p{mark}>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for name, value in facts.items())
    return f'<ul class="facts">{items}</ul>'


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
