"""The benchmark's quality gates on a toy size; times are printed by the benchmark and never asserted."""

from __future__ import annotations

import numpy as np

from tests.benchmark.projection import measure, table


def test_ours_is_as_exact_as_cubic_rotation_and_agrees_with_iradon():
    rows = measure((64, 64, 96), rows=16, tilts_deg=np.linspace(-60, 60, 13), repeats=1, threads=(1,))
    assert rows["project, 1t"]["relative_l2"] <= 5e-3
    assert rows["project, 1t"]["relative_l2"] <= rows["rotate order 1, 1t"]["relative_l2"] / 3
    assert rows["iradon, 1t"]["ours_against_it"] <= 5e-4
    assert "rotate order 3, 1t" in table(rows)
