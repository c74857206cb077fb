"""The benchmark's quality gates on a toy size; times are printed by the benchmark and never asserted."""

from __future__ import annotations

import pytest

from tests.benchmark.template_matching import measure, table


def test_ours_scores_as_the_naive_way_does_and_a_coarser_search_finds_as_much():
    rows = measure((48, 80, 72), turns=3, repeats=1, step_deg=45, snr=2.0)
    assert rows["plain"]["score_correlation"] == pytest.approx(1, abs=1e-3)
    assert rows["ours"]["score_correlation"] >= 0.999
    assert rows["ours"]["recall"] == 1
    assert rows["ours, band-limited"]["recall"] == 1
    assert "ours" in table(rows)
