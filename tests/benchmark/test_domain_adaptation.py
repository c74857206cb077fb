"""Adaptation on a toy tomogram: real boxes take part where they should, and blobs that are all alike are all found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from cryoembed.io.mrc import write_mrc
from cryoembed.models.checkpoint import load_weights
from cryoembed.recipes.pretrain import pretrain
from tests.benchmark import domain_adaptation
from tests.benchmark.domain_adaptation import VOLUME, between_halves, config_of, on_real, real_data
from tests.benchmark.emp10499 import LABELS, VOLUMES
from tests.benchmark.options import BUNDLED
from tests.recipes.hand_made import save_finder

TINY = (
    "structures=[]", "data.structure_share=null", "data.phantoms=4", "data.mass_range_kda=[80, 150]", "batch=3",
    "views=2", "train.warmup_steps=1", "train.precision=fp32", "train.log_every=1",
)  # fmt: skip
PLACES = np.array([(24, y, x) for y in (20, 44, 68) for x in (20, 44, 68, 92, 116)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Blobs in a crop with the name, place and labels of the real one."""
    points = np.zeros((48, 90, 136), dtype=np.float32)
    points[tuple(PLACES.T)] = 1.0
    blobs = ndimage.gaussian_filter(points, 3.0)
    noise = np.random.default_rng(0).normal(size=points.shape)
    write_mrc(tmp_path / f"{VOLUME}.mrc", (blobs / blobs.max() + 0.02 * noise).astype(np.float32), 10.0)
    parent = PLACES + np.array(VOLUMES[VOLUME]) / 10
    table = pd.DataFrame(parent, columns=["z_10A", "y_10A", "x_10A"])
    table.assign(tier="likely", score=np.linspace(1, 0.5, len(table))).to_csv(tmp_path / LABELS, index=False)
    return tmp_path


def test_the_real_row_sees_the_tomogram_and_the_simulated_one_differs_in_nothing_else(
    folder: Path, tmp_path: Path
) -> None:
    simulated, real = (
        config_of(name, tmp_path / "run", tmp_path, real_data(name, folder, tmp_path), steps=2, settings=TINY)
        for name in ("simulated", "real")
    )
    assert simulated.model_copy(update={"real": real.real, "name": "real"}) == real
    assert simulated.real is None
    pretrain(real)
    card = load_weights(tmp_path / "run" / "weights.safetensors").card
    assert "1 real tomogram without labels, 25% of each batch" in card.training_data
    assert f"from {BUNDLED}" in card.description
    assert "real" in json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])  # its part of the loss


def test_blobs_that_are_all_alike_are_all_found_and_agree_between_equal_halves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = str(save_finder(tmp_path / "finder.safetensors", threshold=2.0))
    row = on_real(BUNDLED, folder, tmp_path, finder=finder, draws=1)
    assert (row["AP"], row["recall"], row["all instances"]) == ("1.000", "1.000", "1.000")
    assert row["AP, drawn"] == "1.000 ± 0.000"
    twice = [tmp_path / "even.mrc", tmp_path / "odd.mrc"]
    for path in twice:
        path.write_bytes((folder / f"{VOLUME}.mrc").read_bytes())
    monkeypatch.setattr(domain_adaptation, "halves", lambda *_: twice)
    assert between_halves(BUNDLED, folder, tmp_path, finder=finder)["agree, best 50"] == "1.000"
