"""The ablations on a toy size: the head finds planted classes, every row is another training, and the whole runs twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoembed.semantic import IGNORED
from tests.benchmark.dense_ablation_rows import COLUMNS, FLOORS, ROWS, TABLES
from tests.benchmark.dense_ablations import main, row_config
from tests.benchmark.voxel_probe import ProbeSettings, Sample, score

TINY = [
    "stream.shape=[16, 32, 32]",
    "stream.envelope={kind: full}",
    "stream.structures=[]",
    "stream.fresh_phantoms=2",
    "stream.mass_range_kda=[100, 300]",
    "stream.membranes=[]",
    "stream.filaments=[]",
    "stream.chains=[]",
    "data.scenes=1",
    "data.crop_vox=16",
    "window_vox=8",
    "batch=2",
    "network.backbone={width: 4, stem_kernel: 3}",
    "network.pyramid_channels=4",
    "train.steps=2",
    "train.warmup_steps=0",
    "train.precision=fp32",
    "train.device=cpu",
]


def planted(seed: int) -> Sample:
    """Every class is a grey value of its own, and gold looks like background."""
    classes = np.random.default_rng(seed).choice([0, 1, 2, 3, IGNORED], size=(8, 16, 16)).astype(np.uint8)
    return Sample(np.where(classes == IGNORED, 0, classes).astype(np.float32), classes)


def test_the_head_finds_planted_classes_and_nothing_in_vectors_that_say_nothing() -> None:
    settings = ProbeSettings(voxels=1000, steps=200, batch=256)

    def embed(volume: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(volume), np.cos(volume)])  # no class is a half-space of these

    found = score(embed, [planted(0), planted(1)], [planted(2)], settings)
    assert found == dict.fromkeys(("background", "particle", "membrane", "microtubule", "all"), 1.0)
    nothing = score(lambda volume: np.ones((2, *volume.shape), np.float32), [planted(0)], [planted(2)], settings)
    assert nothing["all"] < 0.2


def test_every_row_is_a_training_of_its_own_and_every_table_line_a_row(tmp_path: Path) -> None:
    configs = [row_config(name, tmp_path, tmp_path).model_dump_json(exclude={"out", "name"}) for name in ROWS]
    assert len(set(configs)) == len(configs) == 20
    lines = [line for table in TABLES.values() for line in table.values()]
    assert {name for name, _ in lines} == set(ROWS)
    assert all(len(published) == len(COLUMNS) for _, published in lines)


def test_lines_that_two_tables_share_are_what_both_say(tmp_path: Path) -> None:
    base = row_config("base", tmp_path, tmp_path).network
    assert (base.voxel_dim, base.global_dim, base.level_losses) == (64, 256, (2,))
    augment = row_config("noise", tmp_path, tmp_path).augment
    assert augment.mask_probability == 0
    assert min(augment.noise_probability, augment.low_pass_probability, augment.high_pass_probability) > 0


def test_rows_run_and_are_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path), "--out", str(tmp_path / "runs"), "--probe-steps", "2", "--only", "base", "dense"]
    arguments += [part for setting in TINY for part in ("--set", setting)]
    main(arguments)
    first = capsys.readouterr().out
    assert first.count("trained dense_ablations_") == 2
    tables = first[first.index("Dice on clean") :]
    assert all(name in tables for name in (*FLOORS, "table 3", "+ L2", "(0.132)", "2 steps of 2 pairs"))
    assert "table 2" not in tables
    main(arguments)
    again = capsys.readouterr().out
    assert "trained" not in again.replace("untrained", "")
    assert again[again.index("Dice on clean") :] == tables
