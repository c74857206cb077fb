"""pretrain end to end on tiny settings: every method, resume, same seed same file, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.models.checkpoint import load_weights
from cryoembed.recipes.pretrain import PretrainConfig, pretrain

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY_NETWORK = ["network.backbone={width: 4, blocks: [1, 1], stem_kernel: 3}"]
TINY_TRAIN = ["train.steps=3", "train.warmup_steps=1", "train.log_every=1", "train.precision=fp32", "train.device=cpu"]
TINY_SCENES = [
    "data.scenes=1",
    "data.shape_zyx=[32, 32, 32]",
    "data.species=2",
    "data.mass_range_kda=[100, 300]",
    "data.crop_vox=16",
    "data.margin_vox=2",
    "data.vesicles=0",
    "data.fiducials=0",
]
TINY_BOXES = ["data.phantoms=4", "data.mass_range_kda=[80, 150]", "data.box_vox=16", "network.box_vox=16"]


def tiny(name: str, out: Path, *more: str) -> PretrainConfig:
    dense = "dense" in name
    extra = [*TINY_SCENES, "window_vox=12", "network.pyramid_channels=4"] if dense else [*TINY_BOXES, "batch=3"]
    overrides = [*TINY_NETWORK, *TINY_TRAIN, *extra, "batch=2" if dense else "batch=4", f"out={out}", *more]
    return load_config(PretrainConfig, CONFIGS / f"{name}.yaml", overrides)


@pytest.mark.parametrize("name", ["pretrain_dense_simsiam_small", "pretrain_simsiam", "pretrain_contrastive_small"])
def test_every_method_writes_weights_that_load(tmp_path: Path, name: str) -> None:
    line = pretrain(tiny(name, tmp_path / "run"))
    assert "for 3 steps" in line
    loaded = load_weights(tmp_path / "run" / "weights.safetensors")
    assert loaded.model_hash in line
    assert loaded.card.steps == 3
    assert loaded.card.recipe == "pretrain"
    assert {"config.yaml", "provenance.json", "log.jsonl", "checkpoint.safetensors"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_same_seed_gives_the_same_file_and_another_seed_does_not(tmp_path: Path) -> None:
    files = []
    for index, seed in enumerate((0, 0, 1)):
        pretrain(tiny("pretrain_contrastive_small", tmp_path / str(index), f"train.seed={seed}"))
        files.append((tmp_path / str(index) / "weights.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_finished_training_is_not_done_again(tmp_path: Path) -> None:
    config = tiny("pretrain_contrastive_small", tmp_path / "run")
    pretrain(config)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    (tmp_path / "run" / "weights.safetensors").unlink()
    pretrain(config)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    pretrain(tiny("pretrain_contrastive_small", tmp_path / "run"))
    with pytest.raises(InputError, match="temperature"):
        pretrain(tiny("pretrain_contrastive_small", tmp_path / "run", "temperature=0.5"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=dense_simsiam", "needs network.kind dense_simsiam"),
        ("data.box_vox=24", "differs from network.box_vox"),
        ("data.voxel_size=20", "differs from input.voxel_size"),
        ("input.scale=unit", "zscore"),
        ("data.phantom=3", "did you mean 'phantoms'"),
        ("structures=[{path: nowhere.pdb}]", "no such file"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(tiny("pretrain_contrastive_small", tmp_path / "run", override))


def test_without_output_folder_the_remedy_is_named() -> None:
    config = load_config(PretrainConfig, CONFIGS / "pretrain_simsiam.yaml")
    with pytest.raises(InputError, match="--out"):
        pretrain(config)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("pretrain_*.yaml")), ids=lambda path: path.stem)
def test_committed_configs_load_and_name_their_command(path: Path) -> None:
    load_config(PretrainConfig, path)
    assert path.read_text().startswith(f"# cryoembed pretrain configs/{path.name} --out ")
