"""The benchmark runs on toy sizes; times are printed by it and never asserted."""

from __future__ import annotations

from tests.benchmark.train_step import measure


def test_every_row_has_its_figures_and_recomputing_keeps_less() -> None:
    rows = measure(repeats=1, classes=2, crops=2, side=16, matrix=64)
    assert [str(row["what"]).split()[0] for row in rows] == ["subtomogram", "voxel", "embed_boxes,"]
    for row in rows:
        assert all(value > 0 for value in row.values() if isinstance(value, float))
    assert all(row["kept_recomputed_mb"] < row["kept_mb"] for row in rows[:2])
