"""What is said beforehand: the disk is counted byte by byte, the rest grows with what there is to do."""

from __future__ import annotations

import pytest

from cryoembed.simulate.cost import Cost, cost, disk_bytes
from cryoembed.simulate.folders import simulate_dataset
from tests.simulate.test_dataset import config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"write_halves": True, "shrec_cube": True},
        {"write_masks": True, "fiducials": [1, 1], "imaging": {"write_tilt_series": True, "tilt_step_deg": 10.0}},
    ],
)
def test_the_disk_that_is_asked_for_is_the_disk_that_is_taken(tmp_path, changes):
    settings = config(models=1, shape=[48, 64, 64], **changes)
    simulate_dataset(settings, tmp_path)
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    # room is kept for a lamella mask and 16-bit ids
    assert 0.75 < taken / disk_bytes(settings) < 1.05


def test_more_work_takes_longer_and_more_processes_more_memory():
    small, large = cost(config(), 4), cost(config(shape=[64, 96, 96]), 4)
    assert small.seconds < large.seconds
    assert cost(config(imaging={"model": "multislice"}), 4).seconds > small.seconds
    four = Cost(models=4, seconds=100.0, memory_gb=2.0, disk_gb=8.0)
    assert four.text(1) == "about 7 min, 2.0 GB memory (1 process), 8.00 GB disk"
    assert four.text(3) == "about 203 s, 6.0 GB memory (3 processes), 8.00 GB disk"
    assert "(2 processes)" in cost(config(), 2).text(8)
    assert "each" in large.text(None)
