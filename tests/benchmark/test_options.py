"""The table of options on toy sizes: every row is accepted and changes what it says, and a finished row is not redone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.models.checkpoint import load_weights
from cryoembed.preprocess.config import InputConfig
from tests.benchmark import options
from tests.benchmark.few_shot import BACKGROUND
from tests.benchmark.options import EVALUATED, ROWS, Run, line
from tests.benchmark.trained import trained

TINY = (
    "network.backbone={width: 4, blocks: [1], stem_kernel: 3, stem_stride: 2}",
    "network.shells={shells: 3, degree: 1, hidden: 4}",
    "network.embedding_dim=8",
    "structures=[]",
    "data.structure_share=null",
    "data.phantoms=4",
    "data.mass_range_kda=[80, 150]",
    "batch=4",
    "train.steps=2",
    "train.warmup_steps=1",
    "train.precision=fp32",
)


def sets(_: InputConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    labels = np.repeat(["a", BACKGROUND], 7)
    return {snr: (generator.standard_normal((14, 32, 32, 32), dtype=np.float32), labels) for snr in ("clean", "0.1")}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_accepted_and_differs_from_the_base_in_what_it_names(name: str) -> None:
    run = Run(Path("out"), Path("structures"))
    base, row = (run.config(one).model_dump(exclude={"name", "out"}) for one in ("base", name))
    assert (base == row) == (name == "base")
    named = {setting.partition("=")[0].split(".")[0] for setting in ROWS[name].settings}
    changed = {key for key in base if base[key] != row[key]}
    assert changed <= named | ({"weights"} if ROWS[name].after else set())
    assert Run(Path("out"), Path("structures"), seed=3).config(name).train.seed == 3


def test_boxes_of_a_step_are_as_many_in_every_row() -> None:
    for name in ROWS:
        config = Run(Path("out"), Path("structures")).config(name)
        per_item = {"contrastive": config.views, "refine": 3}.get(config.method, 2)
        assert 63 <= config.batch * per_item <= 64


def test_a_row_that_starts_from_another_is_trained_after_it_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, boxes = Run(tmp_path, tmp_path, settings=TINY), sets
    monkeypatch.setitem(ROWS, "simsiam", options.Row("SimSiam", ("method=simsiam", "proxies=false")))
    first = line("simsiam-contrastive", boxes, run)
    assert first["steps"] == "2 + 2"
    card = load_weights(run.folder / "simsiam-contrastive" / "weights.safetensors").card
    assert "from simsiam" in card.description
    monkeypatch.setattr("tests.benchmark.trained.pretrain", lambda _: pytest.fail("trained again"))
    monkeypatch.setattr(options, "encoder", lambda *_, **__: pytest.fail("measured again"))
    assert line("simsiam-contrastive", boxes, run) == first


def test_copies_are_measured_of_the_weights_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, boxes = Run(tmp_path, tmp_path, settings=TINY), sets
    four = line("base", boxes, run)
    asked = []
    real = options.encoder
    monkeypatch.setattr(
        options, "encoder", lambda weights, copies: asked.append(copies) or real(weights, copies=copies)
    )
    one = line("base, 1 copy", boxes, run)
    assert asked == [1]
    assert one["steps"] == four["steps"]
    assert {"F1 clean", "AP 0.1"} <= one.keys() & four.keys()
    assert set(EVALUATED) == {"base, 1 copy", "subtomogram_small", "subtomogram_small, 1 copy"}


def test_time_of_a_killed_run_is_not_passed_off_as_known(tmp_path: Path) -> None:
    run, boxes = Run(tmp_path, tmp_path, settings=TINY), sets
    assert line("base", boxes, run)["CPU s"] != "?"
    (run.folder / "base" / "cpu_s.json").unlink()
    assert line("base", boxes, run)["CPU s"] == "?"


def test_settings_that_are_refused_cost_no_known_time_and_a_changed_start_is_noticed(tmp_path: Path) -> None:
    run, boxes = Run(tmp_path, tmp_path, settings=TINY), sets
    seconds = line("base", boxes, run)["CPU s"]
    with pytest.raises(InputError):
        line("base", boxes, Run(tmp_path, tmp_path, settings=(*TINY, "data.phantoms=5")))
    assert line("base", boxes, run)["CPU s"] == seconds
    after = run.config("base").model_copy(
        update={"weights": str(run.folder / "base" / "weights.safetensors"), "out": tmp_path / "after"}
    )
    trained(after)
    trained(after)
    trained(run.config("no-clean"))
    shutil.copy(run.folder / "no-clean" / "weights.safetensors", run.folder / "base" / "weights.safetensors")
    with pytest.raises(SystemExit, match="other weights"):
        trained(after)
