"""The benchmark's quality gates on a toy size; times are printed by the benchmark and never asserted."""

from __future__ import annotations

import pytest

pytest.importorskip("monai", reason="the peer comes with the extra 'dev'")

from tests.benchmark.embed_volume import measure, table


def test_ours_is_exact_where_overlapping_windows_are_not():
    rows = measure((40, 48, 56), width=16, roi=32, repeats=1)
    assert rows["ours fp32"]["max_abs_difference"] <= 1e-4
    assert rows["ours bf16"]["least_cosine"] >= 0.999
    for peer in ("monai", "centres"):
        assert rows["ours fp32"]["relative_l2"] <= rows[peer]["relative_l2"] / 10
    assert "ours bf16" in table(rows)
