"""train without truth, end to end on tiny noise: it learns, resumes, starts from weights, and refuses what cannot work."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from cryoembed.cli import app
from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io.mrc import read_tomogram, write_mrc
from cryoembed.models.checkpoint import load_weights
from cryoembed.recipes import training_run
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.self_denoise import SelfDenoiseConfig, self_denoise

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHAPE = (16, 40, 24)
TINY = [
    "network.backbone={width: 4, blocks: [1, 1], stem_kernel: 3}",
    "network.pyramid_channels=4",
    "network.head_channels=4",
    "data.crop_vox=16",
    "data.hidden_share=0.01",
    "data.hidden_reach_vox=[0, 0, 0]",
    "train.steps=3",
    "train.warmup_steps=1",
    "train.log_every=1",
    "train.precision=fp32",
    "train.device=cpu",
    "contrast=bright",
]


def volumes() -> dict[str, np.ndarray]:
    """A smooth signal, and two recordings of it with white noise of the same variance."""
    generator = np.random.default_rng(0)
    signal = gaussian_filter(generator.standard_normal(SHAPE), 2, mode="wrap")
    signal = (signal / signal.std()).astype(np.float32)
    noisy = {name: signal + generator.standard_normal(SHAPE, dtype=np.float32) for name in ("ts_even", "ts_odd")}
    return {"clean": signal, **noisy}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, volume in volumes().items():
        write_mrc(tmp_path / f"{name}.mrc", volume, 10.0)
    return tmp_path


def settings(folder: Path, method: str, *more: str) -> SelfDenoiseConfig:
    halves = f"halves=[{{even: {folder / 'ts_even.mrc'}, odd: {folder / 'ts_odd.mrc'}}}]"
    data = halves if method == "noise2noise" else f"tomograms=[{folder / 'ts_even.mrc'}]"
    overrides = [*TINY, data, f"out={folder / method}", *more]
    return load_config(SelfDenoiseConfig, CONFIGS / f"train_{method}_small.yaml", overrides)


@pytest.mark.parametrize("method", ["noise2noise", "blind_spot"])
def test_noise_alone_teaches_the_signal(folder: Path, method: str) -> None:
    config = settings(folder, method, "train.steps=80", "train.log_every=20", "train.learning_rate=0.01")
    assert "for 80 steps" in self_denoise(config)
    card = load_weights(folder / method / "weights.safetensors").card
    assert card.metrics["held_out"] < card.metrics["held_out_mean"]
    files = {"tomograms": (folder / "ts_even.mrc",), "out": folder / "out", "contrast": "bright", "device": "cpu"}
    denoise(DenoiseConfig(**files, weights=str(folder / method / "weights.safetensors")))
    clean, noisy = volumes()["clean"], volumes()["ts_even"]
    result = read_tomogram(folder / "out" / "ts_even_denoised.mrc").data
    before, after = (np.corrcoef(clean.ravel(), np.ravel(volume))[0, 1] for volume in (noisy, result))
    assert after > before + 0.05


def test_interrupted_and_resumed_run_gives_the_file_of_an_uninterrupted_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    self_denoise(settings(folder, "blind_spot", f"out={folder / 'a'}"))
    again = settings(folder, "blind_spot", f"out={folder / 'b'}")
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "fit", partial(training_run.fit, stop_after=2))
        assert "stopped at step 2 of 3" in self_denoise(again)
    self_denoise(again)
    assert (folder / "a/weights.safetensors").read_bytes() == (folder / "b/weights.safetensors").read_bytes()


def test_training_may_start_from_weights(folder: Path) -> None:
    self_denoise(settings(folder, "blind_spot", "half=false"))
    start = folder / "blind_spot" / "weights.safetensors"
    self_denoise(settings(folder, "noise2noise", f"weights={start}", "train.learning_rate=1e-9", "half=false"))
    before, after = (load_weights(path).module.state_dict() for path in (start, folder / "noise2noise" / start.name))
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before if name.endswith("weight"))


def test_cli_trains_by_method_and_averages_denoised_halves(folder: Path) -> None:
    config = folder / "n2n.yaml"
    config.write_text(settings(folder, "noise2noise").to_yaml())
    done = CliRunner().invoke(app, ["train", str(config), "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    assert "trained noise2noise" in done.output
    weights = folder / "run" / "weights.safetensors"
    common = ["--out", str(folder / "out"), "--weights", str(weights), "--contrast", "bright", "--device", "cpu"]
    halves = [str(folder / "ts_even.mrc"), str(folder / "ts_odd.mrc")]
    for inputs in ([*halves], ["--even", halves[0], "--odd", halves[1]]):
        done = CliRunner().invoke(app, ["denoise", *inputs, *common])
        assert done.exit_code == 0, done.output
    even, odd, both = (read_tomogram(folder / "out" / f"{n}_denoised.mrc").data for n in ("ts_even", "ts_odd", "ts"))
    np.testing.assert_allclose(both, (even + odd) / 2, atol=1e-5)
    assert {"input", "second_input"} <= set(json.loads((folder / "out" / "ts_denoised.json").read_text()))
    done = CliRunner().invoke(app, ["denoise", "--even", halves[0], "--odd", halves[1], *common])
    assert "skipped 1" in done.output


def broken(folder: Path, kind: str) -> None:
    odd = volumes()["ts_odd"]
    voxel_size = 12.0 if kind == "voxel size" else 10.0
    changed = {
        "shape": odd[:, :-1],
        "NaN": np.where(np.indices(SHAPE)[1] == 11, np.float32(np.nan), odd),
        "same": volumes()["ts_even"] * 3 + 1,
        "voxel size": odd,
    }[kind]
    write_mrc(folder / "ts_odd.mrc", changed, voxel_size)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("shape", "expected one shape"),
        ("voxel size", "voxels of 10 and 12 A"),
        ("NaN", "NaN"),
        ("same", r"correlate by 1\.0000: they are one volume"),
    ],
)
def test_halves_that_do_not_belong_together_are_refused(folder: Path, kind: str, message: str) -> None:
    broken(folder, kind)
    with pytest.raises(InputError, match=message):
        self_denoise(settings(folder, "noise2noise"))
    assert not (folder / "noise2noise").exists()
    if kind != "same":  # its own voxel size and NaN are refused by whoever reads it
        return
    self_denoise(settings(folder, "blind_spot"))
    halves = {"even": folder / "ts_even.mrc", "odd": folder / "ts_odd.mrc", "contrast": "bright", "device": "cpu"}
    with pytest.raises(InputError, match="they are one volume"):
        denoise(
            DenoiseConfig(**halves, weights=str(folder / "blind_spot/weights.safetensors"), out=folder / "denoised")
        )
    assert not (folder / "denoised").exists()


def test_halves_of_different_contrast_are_refused(folder: Path) -> None:
    generator = np.random.default_rng(1)
    spots = gaussian_filter((generator.random((24, 64, 64)) < 0.001) * 500.0, 3).astype(np.float32)
    for name, sign in (("ts_even", 1), ("ts_odd", -1)):
        write_mrc(folder / f"{name}.mrc", sign * spots + generator.standard_normal(spots.shape, dtype="f4") / 10, 10.0)
    with pytest.raises(InputError, match="particles look bright and dark"):
        self_denoise(settings(folder, "noise2noise", "contrast=auto"))


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("noise2noise", "halves=[]", "noise2noise takes halves"),
        ("blind_spot", "tomograms=[]", "blind_spot takes tomograms"),
        ("blind_spot", "halves=[{even: a, odd: b}]", "no halves"),
        ("noise2noise", "network.heads=[instance]", "the only head trained here"),
        ("noise2noise", "input.scale=unit", "must be zscore"),
        ("noise2noise", "data.crop_vox=24", r"lower data\.crop_vox"),
        ("blind_spot", "data.crop_vox=24", r"lower data\.crop_vox"),
        ("blind_spot", "tomograms=[nowhere.mrc]", "nowhere"),
        ("blind_spot", "out=null", "--out"),
    ],
)
def test_settings_that_cannot_work_are_refused(folder: Path, method: str, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        self_denoise(settings(folder, method, override))


def test_denoise_takes_tomograms_or_two_halves(tmp_path: Path) -> None:
    for given in ({}, {"even": tmp_path}, {"tomograms": (tmp_path,), "even": tmp_path, "odd": tmp_path}):
        with pytest.raises(ValueError, match="give tomograms, or the two halves"):
            DenoiseConfig(out=tmp_path, **given)
