"""EMPIAR-10499 00254: some rows of it, reconstructed by our code, look like the reconstruction that came with it."""

from __future__ import annotations

from tests.benchmark.reconstruct_emp10499 import correlations, reconstruct_rows


def test_rows_of_a_real_series_agree_with_the_provided_reconstructions(shared_data):
    folder, rows = shared_data / "tomograms/emp10499", slice(220, 252)
    found = correlations(folder, reconstruct_rows(folder, rows), rows)
    assert found["10A_crop"] >= 0.97
    assert found["20A_full"] >= 0.96
