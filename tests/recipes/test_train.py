"""train end to end on tiny settings: from scratch, from pretrained weights, from a data set on disk."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from cryoembed.config import load_config, sets
from cryoembed.errors import InputError
from cryoembed.io.shrec import read_model
from cryoembed.models.checkpoint import load_weights
from cryoembed.recipes.pretrain import pretrain
from cryoembed.recipes.self_denoise import SelfDenoiseConfig
from cryoembed.recipes.train import TrainRecipeConfig, train
from cryoembed.recipes.training_data import load_scenes
from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.folders import simulate_dataset
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.scene.envelope import EnvelopeConfig
from cryoembed.simulate.scene.filaments import FilamentSpec
from tests.recipes.test_pretrain import CONFIGS, TINY_NETWORK, TINY_SCENES, TINY_TRAIN, stream_file
from tests.recipes.test_pretrain import tiny as tiny_pretraining

SMALL_HEADS = [
    "network.pyramid_channels=4",
    "network.head_channels=4",
    "batch=2",
    "stream=null",  # phantoms packed into full volumes: no lamella to learn
    "data.refresh_every=0",
    "tasks=[denoise, instance, semantic]",
    "network.heads=[denoise, instance, semantic]",
]


def tiny(out: Path, *more: str) -> TrainRecipeConfig:
    overrides = [*TINY_NETWORK, *TINY_TRAIN, *TINY_SCENES, *SMALL_HEADS, f"out={out}", *more]
    return load_config(TrainRecipeConfig, CONFIGS / "train_voxel_small.yaml", overrides)


def test_heads_train_and_their_weights_predict(tmp_path: Path) -> None:
    line = train(tiny(tmp_path / "run"))
    assert "for 3 steps" in line
    loaded = load_weights(tmp_path / "run" / "weights.safetensors")
    outputs = loaded.module.predict(torch.zeros(1, 1, 8, 8, 8), ["denoise", "foreground", "semantic"])  # type: ignore[operator]
    assert outputs["foreground"].shape == (1, 1, 8, 8, 8)
    torch.testing.assert_close(outputs["semantic"].sum(dim=1), torch.ones(1, 8, 8, 8))
    logged = {"denoise", "distance", "boundary_recall", "dice", "recall_particle"}
    assert logged <= set(loaded.card.metrics)


def test_frozen_encoder_keeps_the_pretrained_weights(tmp_path: Path) -> None:
    pretrain(tiny_pretraining("pretrain_dense_simsiam_small", tmp_path / "pre", "half=false"))
    weights = tmp_path / "pre" / "weights.safetensors"
    train(tiny(tmp_path / "run", f"weights={weights}", "frozen=all_but_heads", "half=false"))
    before = load_weights(weights).module.state_dict()
    after = load_weights(tmp_path / "run" / "weights.safetensors").module.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == set(before)


def test_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        train(tiny(tmp_path / name))
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()


def test_simulated_data_set_is_read_with_particles_bright(tmp_path: Path) -> None:
    settings = DatasetConfig(
        models=2,
        test=1,
        shape=(24, 32, 32),
        random_phantoms=2,
        mass_range_kda=(100, 300),
        counts=3,
        allow_shortfall=True,
        fiducials=(1, 1),
        filaments=(FilamentSpec(kind="actin", count=(1, 1)),),
        envelope=EnvelopeConfig(kind="slab", thickness_nm=(16.0, 16.0)),
        imaging=ImagingConfig(snr_particle=(5.0, 5.0), contrast="dark"),
    )
    simulate_dataset(settings, tmp_path / "data")
    config = tiny(tmp_path / "run", f"dataset={tmp_path / 'data'}", "data.shape_zyx=[24, 24, 24]")
    (scene,) = load_scenes(config.data, config.dataset, (), config.input)
    assert scene.recorded is not None
    recorded = scene.recorded.astype(np.float32)
    assert recorded[scene.foreground].mean() > recorded[~scene.foreground].mean()
    model = read_model(tmp_path / "data" / "model_0")
    gold = model.particles.labels == "fiducial"
    assert gold.sum() == 1
    ids = np.asarray(model.occupancy_mask.data)
    assert not scene.foreground[ids == np.flatnonzero(gold)[0] + 1].any()
    actin = np.flatnonzero(model.particles.labels == "actin")[0] + 1
    assert scene.foreground[(ids > 0) & (ids != np.flatnonzero(gold)[0] + 1) & (ids != actin)].all()
    assert (scene.classes[ids == np.flatnonzero(gold)[0] + 1] == IGNORED).all()
    assert (scene.classes[ids == actin] == SEMANTIC_CLASSES.index("actin")).all()
    assert (scene.classes[scene.foreground] == SEMANTIC_CLASSES.index("particle")).all()
    assert scene.inside.mean(axis=(1, 2)).tolist() == [0] * 4 + [1] * 16 + [0] * 4
    assert "for 3 steps" in train(config)


def test_held_back_species_of_a_data_set_are_refused_unless_asked_for(tmp_path: Path) -> None:
    settings = DatasetConfig.model_validate(
        {
            "models": 1,
            "shape": (24, 32, 32),
            "phantoms": [
                {"name": "seen", "family": "blob", "mass_kda": 150},
                {"name": "kept", "family": "blob", "mass_kda": 200, "split": "test"},
            ],
            "complexes": [{"name": "both", "parts": ["seen", "kept"]}],
            "counts": 1,
            "allow_shortfall": True,
        }
    )
    simulate_dataset(settings, tmp_path / "data")
    over = f"dataset={tmp_path / 'data'}", "data.shape_zyx=[24, 24, 24]"
    with pytest.raises(InputError, match=r"model_0 shows species that are held back: both \(test\), kept \(test\)"):
        train(tiny(tmp_path / "run", *over))
    assert not (tmp_path / "run").exists()
    train(tiny(tmp_path / "run", *over, "held_back=true"))
    card = load_weights(tmp_path / "run" / "weights.safetensors").card
    assert card.training_data == "data set data, with the held-back species both, kept"
    (tmp_path / "data/model_0/model.json").unlink()  # as data sets of others: by the names of the species
    for name in ("particle_locations.txt", "classes.json"):
        file = tmp_path / "data/model_0" / name
        file.write_text(file.read_text().replace("kept", "1s3x"))
    with pytest.raises(InputError, match=r"held back: 1s3x \(test\)"):
        train(tiny(tmp_path / "other", *over))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.heads=[denoise]", "need network.heads"),
        ("frozen=encoder", "give pretrained weights"),
        ("weights=nowhere.safetensors", "do not exist"),
        ("dataset=.", "holds no folder model_N"),
        ("data.packed_share=0.5", "packed_share is of the scenes of a stream"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(tiny(tmp_path / "run", override))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train_*.yaml")), ids=lambda path: path.stem)
def test_committed_configs_load_and_name_their_command(path: Path) -> None:
    load_config(SelfDenoiseConfig if sets(path, "method") else TrainRecipeConfig, path)
    assert path.read_text().startswith(f"# cryoembed train configs/{path.name} --out ")


def test_heads_train_on_endless_samples(tmp_path: Path) -> None:
    for name in "ab":
        assert "for 3 steps" in train(tiny(tmp_path / name, f"stream={stream_file(tmp_path)}"))
    first, second = (tmp_path / name / "weights.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_data_set_of_another_voxel_size_or_with_nan_is_refused_by_name(tmp_path: Path) -> None:
    settings = DatasetConfig(
        models=1, shape=(24, 32, 32), random_phantoms=1, mass_range_kda=(100, 300), counts=1, allow_shortfall=True
    )
    simulate_dataset(settings, tmp_path / "data")
    over = f"dataset={tmp_path / 'data'}", "data.shape_zyx=[24, 24, 24]"
    with pytest.raises(InputError, match=r"model_0: voxel size 10\.0 A, but data\.voxel_size is 20"):
        train(tiny(tmp_path / "run", *over, "data.voxel_size=20", "input.voxel_size=20"))
    with mrcfile.open(tmp_path / "data/model_0/reconstruction.mrc", "r+") as file:
        file.data[3, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"1 voxels from slice z=0 on are NaN or infinite"):
        train(tiny(tmp_path / "run", *over))


def test_a_setting_of_the_stream_is_laid_over_its_file_wherever_that_is_named(tmp_path: Path) -> None:
    path = stream_file(tmp_path)
    overrides = [*TINY_NETWORK, *TINY_TRAIN, *TINY_SCENES, *SMALL_HEADS, "stream.seed=77"]
    config = CONFIGS / "train_voxel_small.yaml"
    by_flag = load_config(TrainRecipeConfig, config, overrides, flags={"stream": path})
    by_key = load_config(TrainRecipeConfig, config, [*overrides[:-1], f"stream={path}", overrides[-1]])
    plain = load_config(TrainRecipeConfig, config, overrides[:-1], flags={"stream": path})
    assert by_flag.stream == by_key.stream
    assert plain.stream is not None
    assert by_flag.stream == plain.stream.model_copy(update={"seed": 77})


def test_a_lamella_that_no_scene_shows_is_refused(tmp_path: Path) -> None:
    heads = "[denoise, instance, semantic, lamella]"
    with pytest.raises(InputError, match="no scene has an inside and an outside"):
        train(tiny(tmp_path / "run", f"tasks={heads}", f"network.heads={heads}"))


def test_what_is_frozen_reads_the_input_of_its_weights_and_what_learns_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match=r"input\.flatten is True, data\.flatten False: give both or neither"):
        tiny(tmp_path / "flat", "input.flatten=true")
    flat = "input.flatten=true", "data.flatten=true"
    train(tiny(tmp_path / "flat", *flat))
    weights = tmp_path / "flat/weights.safetensors"
    assert load_weights(weights).card.input.flatten
    with pytest.raises(InputError, match=r"read another input: .*flatten=True.* there, .*flatten=False.* here"):
        train(tiny(tmp_path / "frozen", f"weights={weights}", "frozen=encoder"))
    assert "another input" not in caplog.text
    train(tiny(tmp_path / "same", f"weights={weights}", "frozen=encoder", *flat))
    assert "another input" not in caplog.text
    train(tiny(tmp_path / "on", f"weights={weights}"))
    assert "another input" in caplog.text


def test_a_head_that_nobody_trains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="semantic would be given away untrained"):
        tiny(tmp_path / "run", "tasks=[denoise, instance]")


def test_heads_kept_from_weights_must_be_in_them(tmp_path: Path) -> None:
    train(tiny(tmp_path / "one", "tasks=[denoise]", "network.heads=[denoise]"))
    start = f"weights={tmp_path / 'one/weights.safetensors'}", "frozen=all_but_heads"
    kept = tiny(tmp_path / "two", "tasks=[semantic]", "network.heads=[denoise, semantic]", *start)
    assert "trained" in train(kept)
    lacking = tiny(tmp_path / "three", "tasks=[semantic]", "network.heads=[instance, semantic]", *start)
    with pytest.raises(InputError, match=r"have no heads\.instance"):
        train(lacking)
