"""The command line answers at once, imports nothing heavy, and turns wrong input into one line and exit code 2."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch pandas starfile sklearn skimage faiss umap plotly lightning_fabric"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cryoembed", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "simulate",
        "pretrain",
        "train",
        "denoise",
        "segment",
        "index",
        "query",
        "cluster",
        "convert",
        "evaluate",
        "info",
    ],
)
def test_every_verb_has_help_without_heavy_imports(verb: str) -> None:
    code = (
        "import sys; sys.argv = ['cryoembed', sys.argv[1], '--help']\n"
        "from cryoembed.cli import main\n"
        "try: main()\n"
        f"finally: print('heavy:', *[m for m in '{HEAVY}'.split() if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_unknown_setting_exits_with_2_and_names_the_nearest_one(tmp_path: Path) -> None:
    done = run("simulate", "--out", str(tmp_path / "data"), "--set", "sed=3")
    assert done.returncode == 2
    assert "did you mean 'seed'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "config_class"),
    [
        (["demo", "--out", "d", "--seed", "1", "--device", "cpu"], "cryoembed.recipes.demo:DemoConfig"),
        (
            ["simulate", "--out", "d", "--seed", "1", "--workers", "2", "--scheduler", "a", "--slurm",
             "--device", "cpu"],
            "cryoembed.recipes.simulate:SimulateConfig",
        ),
        (
            ["pretrain", "c.yaml", "--out", "d", "--stream", "s.yaml", "--device", "cpu"],
            "cryoembed.recipes.pretrain:PretrainConfig",
        ),
        (
            ["train", "c.yaml", "--out", "d", "--stream", "s.yaml", "--device", "cpu"],
            "cryoembed.recipes.train:TrainRecipeConfig",
        ),
        (
            ["denoise", "a.mrc", "--out", "d", "--weights", "w", "--contrast", "dark", "--voxel-size", "10",
             "--even", "e", "--odd", "o", "--device", "cpu", "--precision", "fp32"],
            "cryoembed.recipes.denoise:DenoiseConfig",
        ),
        (
            ["segment", "a.mrc", "--out", "d", "--weights", "w", "--contrast", "dark", "--voxel-size", "10",
             "--tasks", "semantic,lamella", "--device", "cpu", "--precision", "fp32"],
            "cryoembed.recipes.segment:SegmentConfig",
        ),
        (
            ["index", "a.mrc", "--out", "d", "--contrast", "dark", "--voxel-size", "10", "--origin", "1,2,3", "--name",
             "a", "--voxel-weights", "w", "--subtomogram-weights", "w", "--replace", "--device", "cpu", "--precision",
             "bf16"],
            "cryoembed.recipes.index:IndexConfig",
        ),
        (
            ["query", "s", "--examples", "e", "--out", "o", "--negatives", "n", "--top", "5", "--min-score", "0.5",
             "--radius", "130", "--expand", "20", "--voxel-size", "10", "--tomograms-star", "t", "--device", "cpu"],
            "cryoembed.recipes.query:QueryRecipeConfig",
        ),
        (["cluster", "s", "--out", "o", "--clusters", "3", "--seed", "1"], "cryoembed.recipes.cluster:ClusterRecipeConfig"),
        (
            ["convert", "p", "o", "--to", "csv", "--tomograms-star", "t", "--tomogram", "n", "--voxel-size", "10",
             "--store", "s", "--origin", "1,2,3",
             "--relion-centre", "n/2-1"],
            "cryoembed.recipes.convert:ConvertConfig",
        ),
        (
            ["evaluate", "p", "--truth", "t", "--rule", "distance", "--radius", "60", "--out", "o", "--store", "s",
             "--tomograms-star", "t"],
            "cryoembed.recipes.evaluate:EvaluateConfig",
        ),
    ],
)  # fmt: skip
def test_every_flag_is_a_setting_of_its_recipe(
    arguments: list[str], config_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from cryoembed import cli
    from cryoembed.config import Config

    given: dict[str, object] = {}
    monkeypatch.setattr(cli, "_run", lambda recipe, name, values, path, overrides: given.update(values, cls=name))
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    module, _, name = config_class.partition(":")
    assert given.pop("cls") == name
    for key in given:
        cls: type[Config] = getattr(importlib.import_module(module), name)
        for part in key.split("."):
            assert part in cls.model_fields, f"{key} is no setting of {name}"
            cls = cls.model_fields[part].annotation  # type: ignore[assignment]
    assert None not in given.values(), "the arguments above exercise every flag"
