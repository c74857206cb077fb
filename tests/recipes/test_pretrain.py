"""pretrain end to end on tiny settings: every method, resume, same seed same file, refusals."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io.mrc import write_mrc
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, start_from
from cryoembed.recipes import training_run
from cryoembed.recipes.pretrain import PretrainConfig, pretrain
from cryoembed.recipes.pretrain_data import drawing
from cryoembed.store.manifest import fingerprint
from cryoembed.views.scenes import SceneConfig

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


TINY_BLOCKS = "{width: 12, depth: 1, heads: 2}"
TINY_VIT = [f"network={{kind: vit, encoder: {TINY_BLOCKS}, decoder: {TINY_BLOCKS}, embedding_dim: 12, box_vox: 16}}"]


def tiny(name: str, out: Path, *more: str) -> PretrainConfig:
    dense = "dense" in name
    extra = [*TINY_SCENES, "window_vox=12", "network.pyramid_channels=4"] if dense else [*TINY_BOXES, "batch=3"]
    network = TINY_VIT if "mae" in name else TINY_NETWORK
    overrides = [*network, *TINY_TRAIN, *extra, "batch=2" if dense else "batch=4", f"out={out}", *more]
    return load_config(PretrainConfig, CONFIGS / f"{name}.yaml", overrides)


@pytest.mark.parametrize(
    "name",
    [
        "pretrain_dense_simsiam_small",
        "pretrain_simsiam",
        "pretrain_simsiam_small",
        "pretrain_simclr_small",
        "pretrain_contrastive_small",
        "pretrain_mae_small",
    ],
)
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
        ("input.flatten=true", "input.flatten is True, data.flatten False"),
        ("data.flatten=true", "input.flatten is False, data.flatten True"),
        ("data.phantom=3", "did you mean 'phantoms'"),
        ("structures=[{path: nowhere.pdb}]", "no such file"),
        ("augment.wedge_probability=1", "contrastive draws boxes that differ in data.imaging"),
        ("data.structure_share=0.5", "give structures, or leave it out"),
        ("network.mask=strict", "network.mask strict is never trained"),
        ("batch=50", "asks for more classes than there are"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(tiny("pretrain_contrastive_small", tmp_path / "run", override))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=simsiam", "needs network.kind simsiam"),
        ("network.decoder=null", "network.decoder must be given"),
        ("network.projector=true", "network.projector must be false"),
    ],
)
def test_a_transformer_that_a_method_cannot_train_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(tiny("pretrain_mae_small", tmp_path / "run", override))


def test_contrastive_goes_on_from_masked_autoencoder_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pretrain(tiny("pretrain_mae_small", tmp_path / "mae", "half=false"))
    first = load_weights(tmp_path / "mae" / "weights.safetensors")
    more = [f"weights={tmp_path / 'mae' / 'weights.safetensors'}", "method=contrastive", "network.projector=true"]
    standing = "train.learning_rate=1e-12"  # three steps that move nothing show where they began
    pretrain(tiny("pretrain_mae_small", tmp_path / "on", *more, "network.decoder=null", standing, "half=false"))
    then = load_weights(tmp_path / "on" / "weights.safetensors")
    for name, before in first.module.backbone.state_dict().items():
        np.testing.assert_allclose(then.module.backbone.state_dict()[name], before, atol=1e-6)
    assert f"from {first.card.name} ({first.model_hash})" in then.card.description
    assert "another input" not in caplog.text
    pretrain(
        tiny(
            "pretrain_mae_small",
            tmp_path / "flat",
            *more,
            "network.decoder=null",
            "input.flatten=true",
            "data.flatten=true",
        )
    )
    assert "to start from, read another input" in caplog.text


def test_committed_stages_start_from_each_other() -> None:
    loaded = {path.stem: load_config(PretrainConfig, path) for path in CONFIGS.glob("pretrain_*.yaml")}
    starts = {name: config.weights for name, config in loaded.items() if config.weights is not None}
    assert len(starts) >= 2
    for name, weights in starts.items():
        before = loaded[f"pretrain_{Path(weights).parent.name}"]
        new = start_from(build(loaded[name].network), build(before.network))
        assert not any(tensor.startswith("backbone.") for tensor in new)


def test_without_output_folder_the_remedy_is_named() -> None:
    config = load_config(PretrainConfig, CONFIGS / "pretrain_simsiam.yaml")
    with pytest.raises(InputError, match="--out"):
        pretrain(config)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("pretrain_*.yaml")), ids=lambda path: path.stem)
def test_committed_configs_load_and_name_their_command(path: Path) -> None:
    load_config(PretrainConfig, path)
    assert path.read_text().startswith(f"# cryoembed pretrain configs/{path.name} --out ")


STREAM = {"shape": [32, 32, 32], "fresh_phantoms": 2, "mass_range_kda": [100, 300], "crowding": 0.05, "seed": 3}


def stream_file(folder: Path, **changes: object) -> Path:
    path = folder / "stream.yaml"
    path.write_text(yaml.safe_dump({**STREAM, **changes}))
    return path


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("pretrain_dense_simsiam_small", "data.refresh_every=1"),
        ("pretrain_contrastive_small", "data.refresh_every=1"),
        ("pretrain_mae_small", "data.refresh_every=1"),
        ("pretrain_dense_simsiam_small", "stream"),
    ],
)
def test_a_training_on_rolling_data_resumes_as_if_never_stopped(tmp_path, monkeypatch, name, override) -> None:
    override = f"stream={stream_file(tmp_path)}" if override == "stream" else override
    more = [override, "half=false"]
    pretrain(tiny(name, tmp_path / "whole", *more))
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "fit", partial(training_run.fit, stop_after=2))
        assert "stopped at step 2 of 3" in pretrain(tiny(name, tmp_path / "parts", *more, "train.composers=0"))
    pretrain(tiny(name, tmp_path / "parts", *more, "train.workers=1", "train.composers=2"))
    whole, parts = (tmp_path / run / "weights.safetensors" for run in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    pretrain(tiny(name, tmp_path / "fixed", "half=false"))
    assert (tmp_path / "fixed" / "weights.safetensors").read_bytes() != whole.read_bytes()


def test_the_stream_is_in_the_card_and_in_the_resolved_settings(tmp_path: Path) -> None:
    config = tiny("pretrain_dense_simsiam_small", tmp_path / "run", f"stream={stream_file(tmp_path)}")
    pretrain(config)
    card = load_weights(tmp_path / "run" / "weights.safetensors").card
    assert card.training_data.startswith("endless simulated samples of (32, 32, 32) voxels of 10 A")
    assert load_config(PretrainConfig, tmp_path / "run" / "config.yaml").stream == config.stream


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pretrain_dense_simsiam_small", {"shape": [16, 32, 32]}, "smaller than crop_vox"),
        ("pretrain_dense_simsiam_small", {"voxel_size": 20.0}, "differs from data.voxel_size"),
        ("pretrain_dense_simsiam_small", {"crowdin": 0.1}, "did you mean 'crowding'"),
        ("pretrain_contrastive_small", {}, "data.refresh_every makes those endless"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused(tmp_path: Path, name: str, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(name, tmp_path / "run", f"stream={stream_file(tmp_path, **change)}")


def test_a_stream_may_show_structures_of_the_training_split_only(tmp_path: Path) -> None:
    (tmp_path / "held.pdb").write_text("")
    spec = {"path": str(tmp_path / "held.pdb"), "split": "test"}
    config = tiny(
        "pretrain_dense_simsiam_small", tmp_path / "run", f"stream={stream_file(tmp_path, structures=[spec])}"
    )
    with pytest.raises(InputError, match="trainings may see train only"):
        pretrain(config)


def test_a_stream_may_show_phantoms_of_the_training_split_only(tmp_path: Path) -> None:
    held = {"name": "held", "family": "blob", "mass_kda": 150, "split": "validation"}
    config = tiny("pretrain_dense_simsiam_small", tmp_path / "run", f"stream={stream_file(tmp_path, phantoms=[held])}")
    with pytest.raises(InputError, match="phantom held is of the validation split; trainings may see train only"):
        pretrain(config)


def test_a_stream_goes_on_beyond_its_models_with_species_of_the_training_split(tmp_path: Path) -> None:
    from cryoembed.views.stream import endless, simulated_scene

    stream = f"stream={stream_file(tmp_path, separate_species=True, models=2, test=1)}"
    config = tiny("pretrain_dense_simsiam_small", tmp_path / "run", stream)
    assert config.stream is not None
    assert isinstance(config.data, SceneConfig)
    for index in (0, 1, 2, 9):  # models 1 and on would be for the test, or none at all
        assert simulated_scene(config.data, endless(config.stream), index).foreground.any()


def test_a_data_set_on_disk_does_not_roll(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset is a fixed set"):
        tiny("pretrain_dense_simsiam_small", tmp_path / "run", "data.refresh_every=2", f"dataset={tmp_path}")


def test_the_shipped_stream_fits_the_shipped_trainings_and_shows_what_simulate_would_write() -> None:
    from cryoembed.recipes.train import TrainRecipeConfig
    from cryoembed.simulate.dataset import simulate_sample
    from cryoembed.views.stream import simulated_scene

    stream = f"stream={CONFIGS / 'simulate_training.yaml'}"
    load_config(TrainRecipeConfig, CONFIGS / "train_voxel_small.yaml", [stream])
    config = load_config(PretrainConfig, CONFIGS / "pretrain_dense_simsiam_small.yaml", [stream])
    assert config.stream is not None
    assert isinstance(config.data, SceneConfig)
    scene = simulated_scene(config.data, config.stream, 1)
    sample = simulate_sample(config.stream, 1)
    assert np.array_equal(scene.foreground, sample.macromolecule_mask())


def test_refinement_starts_from_the_pretraining_and_says_so(tmp_path: Path) -> None:
    pretrain(tiny("pretrain_simsiam_small", tmp_path / "before", "half=false"))
    weights = tmp_path / "before" / "weights.safetensors"
    start = load_weights(weights)
    frozen = ["train.learning_rate=1e-12", "train.weight_decay=0", "half=false"]
    pretrain(tiny("pretrain_refine_small", tmp_path / "run", f"weights={weights}", *frozen))
    refined = load_weights(tmp_path / "run" / "weights.safetensors")
    kernel = "backbone.stem.0.weight"
    assert torch.allclose(refined.module.state_dict()[kernel], start.module.state_dict()[kernel], atol=1e-9)
    assert f"from simsiam_small ({start.model_hash})" in refined.card.description


def test_any_method_may_start_from_weights(tmp_path: Path) -> None:
    pretrain(tiny("pretrain_simsiam_small", tmp_path / "before"))
    weights = f"weights={tmp_path / 'before' / 'weights.safetensors'}"
    for name, more in (("with", [weights]), ("without", [])):
        pretrain(tiny("pretrain_contrastive_small", tmp_path / name, *more))
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("with", "without")]
    assert files[0] != files[1]


def test_every_phantom_structure_and_nuisance_has_a_proxy_and_structures_a_fingerprint(tmp_path: Path) -> None:
    write_mrc(tmp_path / "map.mrc", np.pad(np.ones((4, 4, 4), dtype=np.float32), 6), voxel_size=10.0)
    structure = "{path: 'm*.mrc', name: cube, mass_kda: 100}"
    more = ["proxies=true", f"structure_folder={tmp_path}", f"structures=[{structure}]"]
    pretrain(tiny("pretrain_contrastive_small", tmp_path / "whole", *more))
    state = load_file(tmp_path / "whole" / "checkpoint.safetensors")
    config = tiny("pretrain_contrastive_small", tmp_path / "whole", *more)
    assert len(state["model.proxies"]) == config.data.phantoms + 1 + 3
    provenance = json.loads((tmp_path / "whole" / "provenance.json").read_text())
    assert provenance["inputs"] == {str(tmp_path / "map.mrc"): fingerprint(tmp_path / "map.mrc")}
    with pytest.raises(InputError, match="proxies serve contrastive, whose classes stay"):
        tiny("pretrain_contrastive_small", tmp_path / "run", "proxies=true", "data.refresh_every=1")


def test_refinement_without_fitting_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refine starts from a pretraining"):
        tiny("pretrain_refine_small", tmp_path / "run", "weights=null")
    with pytest.raises(InputError, match="do not exist"):
        pretrain(tiny("pretrain_refine_small", tmp_path / "run", f"weights={tmp_path / 'no.safetensors'}"))
    pretrain(tiny("pretrain_simsiam_small", tmp_path / "other", "network.embedding_dim=32"))
    weights = f"weights={tmp_path / 'other' / 'weights.safetensors'}"
    with pytest.raises(InputError, match="other settings of network or input"):
        pretrain(tiny("pretrain_refine_small", tmp_path / "run", weights))


WARP = "warp={turns: true, zoom: [0.95, 1.05], shift_vox: 0.5}"


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("pretrain_contrastive_small", WARP, "warp serves dense_simsiam"),
        ("pretrain_contrastive_small", "share=image", "share serves"),
        ("pretrain_dense_simsiam_small", "augment.crop_probability=0.5", "crop_probability serves boxes"),
        ("pretrain_contrastive_small", "real={}", "real needs files"),
        ("pretrain_contrastive_small", "data.mask_shares={hull: 1}", "sum to 2"),
        ("pretrain_simclr_small", "proxies=true", "proxies serve contrastive"),
    ],
)
def test_options_that_do_not_fit_the_method_are_refused(tmp_path: Path, name: str, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(name, tmp_path / "run", override)


def test_a_warp_needs_one_density_for_both_views_and_whole_strides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one image for both views"):
        tiny("pretrain_dense_simsiam_small", tmp_path / "run", WARP, "share=image")
    with pytest.raises(InputError, match="cannot be warped"):
        tiny("pretrain_dense_simsiam_small", tmp_path / "run", WARP, f"dataset={tmp_path}")
    with pytest.raises(InputError, match="multiples of the network's stride 2"):
        tiny("pretrain_dense_simsiam_small", tmp_path / "run", WARP, "window_vox=11")


def tomogram_file(folder: Path, name: str, seed: int) -> Path:
    volume = 0.3 * np.random.default_rng(seed).standard_normal((24, 40, 40)).astype(np.float32)
    for z, y, x in np.random.default_rng(0).integers(3, 20, size=(12, 3)):
        volume[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] += 1
    write_mrc(folder / name, volume, 10.0)
    return folder / name


def with_real(name: str, folder: Path, *more: str) -> PretrainConfig:
    even, odd, whole = (tomogram_file(folder, f"{part}.mrc", seed) for seed, part in enumerate(("even", "odd", "one")))
    real = f"real={{halves: [[{even}, {odd}]], tomograms: [{whole}], contrast: bright, share: 0.4}}"
    return tiny(name, folder / "run", real, *more)


@pytest.mark.parametrize(
    ("name", "extra", "simulated", "real"),
    [
        ("pretrain_contrastive_small", [], "input", "real_a"),
        ("pretrain_simsiam_small", [], "view_a", "view_a"),
        ("pretrain_dense_simsiam_small", [WARP], "view_a", "view_a"),
    ],
)
def test_real_views_join_batches_and_leave_the_simulated_ones_as_they_were(tmp_path, name, extra, simulated, real):
    config = with_real(name, tmp_path, *extra)
    with drawing(config, tmp_path / "run") as (draw, _):
        batch, again, other = (draw(np.random.default_rng(seed), 0) for seed in (1, 1, 2))
    assert not list((tmp_path / "run").glob(".scratch*"))
    with drawing(tiny(name, tmp_path / "run", *extra), tmp_path / "run") as (draw, _):
        without = draw(np.random.default_rng(1), 0)
    assert all(torch.equal(batch[key], again[key]) for key in batch)
    assert not torch.equal(batch[real], other[real])
    count = len(without[simulated])
    assert torch.equal(batch[simulated][:count], without[simulated])
    pairs = len(batch["real_a"]) if real == "real_a" else len(batch["view_a"]) - count
    assert pairs == config.real.count(count // 2 if real == "real_a" else count) >= 2
    assert len(batch.get("label", ())) == len(without.get("label", ()))  # none for real boxes


@pytest.mark.parametrize(
    ("name", "extra"), [("pretrain_contrastive_small", []), ("pretrain_dense_simsiam_small", [WARP])]
)
def test_trainings_with_real_tomograms_say_so(tmp_path: Path, name: str, extra: list[str]) -> None:
    pretrain(with_real(name, tmp_path, *extra))
    card = load_weights(tmp_path / "run" / "weights.safetensors").card
    assert "2 real tomograms without labels, 40% of each batch" in card.training_data
    assert ("real" in card.metrics) == ("contrastive" in name)
    assert np.isfinite(card.metrics["loss"])
