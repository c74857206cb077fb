"""The probe's parts on toy sizes: its score is known for perfect and for shuffled vectors, and its table has all rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmark.mae import block_means, five_shot_f1, main
from tests.recipes.hand_made import save_transformer


def test_vectors_that_tell_classes_apart_score_one_and_shuffled_ones_chance() -> None:
    labels = np.tile(np.arange(4), 30)
    vectors = np.eye(4, dtype=np.float32)[labels]
    assert five_shot_f1(vectors, labels, repeats=3).tolist() == [1.0, 1.0, 1.0]
    noise = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    assert five_shot_f1(noise, labels, repeats=10).mean() == pytest.approx(0.25, abs=0.08)


def test_block_means_are_blind_to_brightness() -> None:
    boxes = np.random.default_rng(0).standard_normal((2, 8, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(block_means(boxes + 3), block_means(boxes), atol=1e-5)


def test_the_command_prints_a_row_for_every_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_transformer(tmp_path / "weights.safetensors")
    main(["--mae", str(tmp_path), "--refined", str(tmp_path), "--classes", "3", "--per-class", "7", "--repeats", "2"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("blocks of 4", "random weights", "tiny transformer, 0 steps"))
    assert "SNR 0.1 whitened" in printed
