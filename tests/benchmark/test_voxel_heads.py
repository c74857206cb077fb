"""The heads' benchmark on a toy size: truth scores 1 in both tables, and the whole runs with any head there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, save_weights
from cryoembed.models.config import BackboneConfig, ModelCard, VoxelNetworkConfig
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.semantic import IGNORED
from cryoembed.simulate.scene.filaments import FilamentSpec
from tests.benchmark.voxel_heads import (
    INPUTS,
    PUBLISHED_AP,
    PUBLISHED_DICE,
    class_scores,
    instance_scores,
    measure,
    simulated,
    table,
)


def test_the_truth_itself_scores_one() -> None:
    classes = np.random.default_rng(0).choice([0, 1, 2, 5, IGNORED], size=(8, 8, 8)).astype(np.uint8)
    guess = np.where(classes == IGNORED, 3, classes)  # whatever is found in gold
    assert class_scores(guess, classes) == dict.fromkeys(("background", "particle", "membrane", "dna", "all"), 1.0)
    assert set(instance_scores(classes, classes).values()) == {1.0}


def test_both_tables_of_a_network_with_all_heads(tmp_path: Path) -> None:
    network = VoxelNetworkConfig(
        backbone=BackboneConfig(width=4, blocks=(1, 1)),
        pyramid_channels=4,
        voxel_dim=4,
        global_dim=4,
        head_channels=4,
        heads=("denoise", "instance", "semantic"),
    )
    torch.manual_seed(0)
    save_weights(tmp_path / "tiny.safetensors", build(network), ModelCard(name="tiny", network=network))
    settings = SimulateConfig(
        out=tmp_path,
        models=1,
        shape=(24, 32, 32),
        fresh_phantoms=2,
        mass_range_kda=(100, 300),
        counts=2,
        allow_shortfall=True,
        filaments=(FilamentSpec(kind="actin", count=(1, 1)),),
    )
    model = load_weights(tmp_path / "tiny.safetensors")
    scores = measure(model, simulated(settings), device="cpu", precision="fp32")
    assert tuple(scores) == INPUTS
    for kind in INPUTS:
        assert {"background", "particle", "actin", "all", "AP-50", "AP-80", "AP"} <= set(scores[kind])
        assert "microtubule" not in scores[kind]
    rows = table(scores, PUBLISHED_DICE).splitlines()
    assert rows[3].split()[:2] == ["microtubule", "-"]
    assert len(rows) == 1 + len(PUBLISHED_DICE)
    assert len(PUBLISHED_AP) == 7
