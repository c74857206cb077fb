"""The masks' benchmark on toy sizes: boxes as their masks say, verdicts on known F1, trainings that build on each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoembed.models.checkpoint import load_weights
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.simulate import SimulateConfig, simulate
from tests.benchmark.mask_claims import (
    CLASSIFIERS,
    VIEWS,
    Cell,
    Claim,
    View,
    claims,
    claims_table,
    f1,
    f1_table,
    judged,
)
from tests.benchmark.masks import REDUCED, ROWS, Network, Sample, results_of, sample, train, truth
from tests.recipes.hand_made import save_finder

LABELS = np.array(["small", "large"] * 20)
MASSES = {"small": 90.0, "large": 900.0}
TINY = [
    "network.backbone={width: 4, blocks: [1, 1], stem_stride: 2}", "network.embedding_dim=4", "data.phantoms=3",
    "data.mass_range_kda=[250, 550]",
    "batch=2", "train.steps=2", "train.warmup_steps=0", "train.device=cpu",
]  # fmt: skip


def test_a_box_shows_what_its_mask_leaves() -> None:
    labels = np.zeros((40, 40, 40), dtype=np.int64)
    labels[18:20, 18:22, 18:22], labels[20:22, 18:20, 18:22] = 3, 3  # an angle: its hull has more
    labels[30:33, 18:22, 18:22] = 4
    grey = np.ones(labels.shape, dtype=np.float32)
    centre = np.array([[19.0, 19.0, 19.0]])
    one = Sample({"noisy": grey}, {"true": labels, "found": labels * 0}, centre, np.array([3]), LABELS[:1], MASSES)
    sums = {view: one.boxes(View("noisy", *view)).sum() for view in (("strict", "true"), ("hull", "true"))}
    assert sums["strict", "true"] == (labels == 3).sum()
    assert (labels == 3).sum() < sums["hull", "true"] < 4 * 4 * 4
    assert one.boxes(View("noisy", "strict", "found")).sum() == one.boxes(View("noisy")).sum() == 32**3
    assert np.isnan(one.agreement()).all()
    assert replace(one, instances={"true": labels, "found": labels}).agreement() == [1.0]


def test_a_verdict_needs_two_standard_deviations() -> None:
    right, wrong = LABELS, LABELS[::-1]
    half = np.where(np.arange(40) < 20, right, wrong)
    assert [f1(called, LABELS, MASSES) for called in (right, half, wrong)] == [1.0, 0.5, 0.0]
    assert f1(right, LABELS, MASSES, "> 600") == 1.0
    cells = {name: Cell(name, VIEWS[0], "k-NN") for name in ("right", "half", "wrong")}
    results = {(name, VIEWS[0]): {"k-NN": of} for name, of in zip(cells, (right, half, wrong), strict=True)}

    def verdict(better: str, worse: str, *, equal: bool = False, group: str | None = None) -> str:
        claim = Claim("", *(cells[name]._replace(group=group) for name in (better, worse)), equal)
        return judged(claim, results, LABELS, MASSES).split()[-1]

    assert verdict("right", "wrong") == verdict("right", "half") == "agrees"
    assert verdict("wrong", "right") == verdict("right", "wrong", equal=True) == "DISAGREES"
    assert verdict("half", "half") == "undecided"
    assert verdict("half", "half", equal=True) == verdict("right", "right", equal=True) == "agrees"
    nearly = np.where(np.arange(40) < 38, right, wrong)
    results["nearly", VIEWS[0]] = {"k-NN": nearly}
    cells["nearly"] = Cell("nearly", VIEWS[0], "k-NN")
    assert verdict("right", "nearly", equal=True) == "undecided"  # too few boxes to tell .95 from 1
    assert verdict("right", "wrong", group="200-600") == "-"


def test_every_claim_is_about_something_that_is_measured() -> None:
    cells = [cell for claim in claims() for cell in (claim.better, claim.worse)]
    assert {cell.view for cell in cells} <= set(VIEWS)
    assert {f"{cell.network}_{cell.view.mask}" for cell in cells} == set(ROWS[:6])
    results = {(cell.network, cell.view): dict.fromkeys(CLASSIFIERS, LABELS) for cell in cells}
    rows = claims_table(results, LABELS, MASSES).splitlines()
    assert len(rows) == 1 + len(claims())
    assert sum(row.endswith(" agrees") for row in rows) == 1  # without masks refinement changes nothing


def test_refinement_goes_on_with_the_pretraining_of_its_mask_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    assert set(REDUCED) == {"simsiam", "refine"}
    seconds = train(tmp_path, "refine_strict", TINY)
    card = load_weights(tmp_path / "refine_strict" / "weights.safetensors").card
    assert card.network.mask == "strict"
    assert load_weights(tmp_path / "simsiam_strict" / "weights.safetensors").model_hash in card.description
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert train(tmp_path, "refine_strict", TINY) == seconds > 0
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_every_view_of_simulated_tomograms_is_named_once(tmp_path: Path) -> None:
    settings = SimulateConfig(
        out=tmp_path, models=2, shape=(24, 48, 48), random_phantoms=2, mass_range_kda=(100, 300), particles=(4, 6),
        allow_shortfall=True, write_halves=True, imaging={"model": "weak_phase", "tilt_step_deg": 10.0},
    )  # fmt: skip
    simulate(settings)
    finder = load_weights(save_finder(tmp_path / "finder.safetensors", threshold=1.0))
    inputs = InputConfig()
    samples = [sample(tmp_path / f"model_{number}", finder, tmp_path / "found", inputs) for number in range(2)]
    labels, teach = truth(samples)
    assert teach.tolist() == sorted(teach.tolist(), reverse=True)
    network = Network(None, "harmonics", "")
    named = [results_of("harmonics", network, samples, tmp_path / "named") for _ in range(2)]
    assert [view for _, view in named[0]] == VIEWS
    assert str(named[0]) == str(named[1])
    assert len(f1_table(named[0], labels[~teach], samples[0].masses).splitlines()) == len(VIEWS) + 1
