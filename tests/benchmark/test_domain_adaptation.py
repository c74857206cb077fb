"""Adaptation on a toy tomogram: real boxes take part where they should, and blobs that are all alike are all found."""

from __future__ import annotations

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


def test_only_the_row_that_says_so_sees_the_tomogram(folder: Path, tmp_path: Path) -> None:
    weights = {}
    for name in ("simulated", "real"):
        config = config_of(
            name,
            tmp_path / name,
            tmp_path,
            real_data(name, folder, tmp_path),
            steps=2,
            learning_rate=1e-3,
            settings=TINY,
        )
        assert (config.real is None) == (name == "simulated")
        pretrain(config)
        weights[name] = load_weights(tmp_path / name / "weights.safetensors")
    assert weights["simulated"].model_hash != weights["real"].model_hash
    assert "1 real tomogram without labels, 25% of each batch" in weights["real"].card.training_data
    assert "real tomogram" not in weights["simulated"].card.training_data
    assert all(f"from {BUNDLED}" in one.card.description for one in weights.values())


def test_blobs_that_are_all_alike_are_all_found_and_agree_between_equal_halves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = str(save_finder(tmp_path / "finder.safetensors", threshold=2.0))
    row = on_real(BUNDLED, folder, tmp_path, finder=finder, draws=2)
    assert (row["AP"], row["recall"], row["all instances"]) == ("1.000", "1.000", "1.000")
    assert row["AP, drawn"] == "1.000 ± 0.000"
    twice = [tmp_path / "even.mrc", tmp_path / "odd.mrc"]
    for path in twice:
        path.write_bytes((folder / f"{VOLUME}.mrc").read_bytes())
    monkeypatch.setattr(domain_adaptation, "halves", lambda *_: twice)
    assert between_halves(BUNDLED, folder, tmp_path, finder=finder)["agree, best 50"] == "1.000"
