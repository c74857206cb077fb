"""How scores are laid out for a reader: rows of named cells, as aligned text for the terminal (pages take the rows)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryoembed.evaluate.distance import DistanceScore
from cryoembed.evaluate.shrec21 import Shrec21Score

Row = Mapping[str, str]


def distance_rows(score: DistanceScore) -> list[Row]:
    """One row for all picks, then one per class where classes were scored."""
    rows = [_distance_row("all", score)]
    return rows + [_distance_row(name or "(no label)", part) for name, part in sorted(score.per_class.items())]


def shrec21_rows(score: Shrec21Score) -> list[Row]:
    """The columns of SHREC 2021's table 3."""
    return [
        {
            "RR": str(score.rr),
            "TP": str(score.tp),
            "FP": str(score.fp),
            "FN": str(score.fn),
            "MH": str(score.mh),
            "AD (vox)": _number(score.ad, 2),
            "recall": _number(score.recall),
            "precision": _number(score.precision),
            "miss rate": _number(score.miss_rate),
            "F1": _number(score.f1),
        }
    ]


def shrec21_class_rows(score: Shrec21Score) -> list[Row]:
    """Per-class F1 (table 4) and its mean."""
    rows: list[Row] = [
        {
            "class": name,
            "particles": str(part.tp + part.fn),
            "TP": str(part.tp),
            "FP": str(part.fp),
            "FN": str(part.fn),
            "F1": _number(part.f1),
        }
        for name, part in sorted(score.per_class.items())
    ]
    return [*rows, {"class": "mean", "F1": _number(score.macro_f1)}] if rows else rows


def recall_rows(score: DistanceScore) -> list[Row]:
    """Share of each true label that was found, whatever the pick's label."""
    return [{"label": name or "(no label)", "found": _number(v)} for name, v in sorted(score.recall_per_label.items())]


def as_text(rows: Sequence[Row]) -> str:
    """Align rows under their column names; the first column is left-aligned, numbers are right-aligned."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    padded = (
        [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _distance_row(name: str, score: DistanceScore) -> Row:
    return {
        "class": name,
        "truth": str(score.n_truth),
        "picks": str(score.n_picks),
        "TP": str(score.tp),
        "FP": str(score.fp),
        "FN": str(score.fn),
        "precision": _number(score.precision),
        "recall": _number(score.recall),
        "F1": _number(score.f1),
        "AP": _number(score.average_precision),
        "distance (A)": _number(score.mean_distance, 1),
    }


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
