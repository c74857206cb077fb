"""Data sets: same seed same bytes, resumable, never half-written, truth that the SHREC reader reads back."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cryoembed.config import load_config, parse_config
from cryoembed.errors import InputError
from cryoembed.geometry import nearest_voxel
from cryoembed.io.shrec import read_model
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.simulate.dataset import DatasetConfig, settings_digest, simulate_model, split_of
from cryoembed.simulate.folders import simulate_dataset

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("simulate_*.yaml"))
SMALL = {
    "models": 2,
    "shape": [32, 48, 56],
    "phantoms": [
        {"name": "big", "family": "shell", "mass_kda": 480, "symmetry": "O", "seed": 1},
        {"name": "small", "family": "blob", "mass_kda": 120, "seed": 2},
    ],
    "counts": 4,
}


def config(**changes) -> DatasetConfig:
    return parse_config(DatasetConfig, {**SMALL, **changes})


def fingerprints(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path):
    for name in ("one", "two"):
        simulate_dataset(config(write_halves=True, fresh_phantoms=1), tmp_path / name)
    simulate_dataset(config(write_halves=True, fresh_phantoms=1, seed=1), tmp_path / "three")
    one, two, three = (fingerprints(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert {"model_1/reconstruction.mrc", "model_1/even.mrc", "model_0/particles.parquet"} <= set(one)
    assert one["model_0/reconstruction.mrc"] != three["model_0/reconstruction.mrc"]
    assert one["model_0/reconstruction.mrc"] != one["model_1/reconstruction.mrc"]


def test_a_model_does_not_depend_on_those_before_it(tmp_path):
    simulate_dataset(config(), tmp_path)
    scene, imaged = simulate_model(config(), 1)
    assert np.array_equal(read_model(tmp_path / "model_1").reconstruction.data, imaged.reconstruction)
    assert np.array_equal(read_model(tmp_path / "model_1").grandmodel.data, scene.density)


def test_the_truth_reads_back_in_the_shrec_layout(tmp_path):
    simulate_dataset(config(models=1, vesicles=[1, 1], fiducials=[1, 1]), tmp_path)
    model = read_model(tmp_path / "model_0")
    exact = pd.read_parquet(tmp_path / "model_0/particles.parquet")
    assert model.classes == ("big", "small", "vesicle", "fiducial")
    assert list(model.particles.labels) == list(exact["label"])
    rounded = nearest_voxel(exact[["z", "y", "x"]].to_numpy() / 10.0)
    assert np.array_equal(model.particles.positions_zyx, rounded * 10.0)
    ids = np.asarray(model.occupancy_mask.data)[tuple(rounded.T)]
    for row, label in enumerate(exact["label"]):
        if label != "vesicle":
            assert ids[row] == row + 1
            assert np.asarray(model.class_mask.data)[tuple(rounded[row])] == model.classes.index(label) + 1
    oriented = exact["qx"].notna().to_numpy()
    turned = model.particles.select(oriented).rotations
    from scipy.spatial.transform import Rotation

    truth = Rotation.from_quat(exact.loc[oriented, ["qx", "qy", "qz", "qw"]].to_numpy())
    assert np.degrees((turned * truth.inv()).magnitude()).max() < 0.01


def test_particles_are_dark_in_the_tomogram_and_bright_in_the_truth(tmp_path):
    simulate_dataset(config(models=1), tmp_path)
    model = read_model(tmp_path / "model_0")
    inside = np.asarray(model.occupancy_mask.data) > 0
    assert model.reconstruction.data[inside].mean() < model.reconstruction.data[~inside].mean()
    assert model.grandmodel.data[inside].mean() > 10 * model.grandmodel.data[~inside].mean()


def test_complete_models_are_kept_and_missing_ones_made(tmp_path):
    first = simulate_dataset(config(models=1), tmp_path)
    before = (tmp_path / "model_0/reconstruction.mrc").stat().st_mtime_ns
    second = simulate_dataset(config(models=3), tmp_path)
    assert (first.made, second.kept, second.made) == (("model_0",), ("model_0",), ("model_1", "model_2"))
    assert (tmp_path / "model_0/reconstruction.mrc").stat().st_mtime_ns == before


def test_models_of_other_settings_are_never_overwritten(tmp_path):
    simulate_dataset(config(models=1), tmp_path)
    before = fingerprints(tmp_path)
    with pytest.raises(InputError, match="other settings"):
        simulate_dataset(config(models=1, seed=5), tmp_path)
    assert fingerprints(tmp_path) == before


def test_what_cannot_be_reached_is_an_error_that_leaves_nothing(tmp_path):
    impossible = config(counts=None, crowding=0.8)
    with pytest.raises(InputError, match=r"crowding 0\.800 can't be reached: 0\.\d+ was"):
        simulate_dataset(impossible, tmp_path / "out")
    assert not list(tmp_path.rglob("*.mrc"))
    assert simulate_dataset(config(counts=None, crowding=0.8, models=1, allow_shortfall=True), tmp_path / "out").made


def test_a_killed_run_leaves_no_half_model(tmp_path, monkeypatch):
    import cryoembed.simulate.model_files as model_files

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_files, "write_mrc", killed)
        with pytest.raises(KeyboardInterrupt):
            simulate_dataset(config(models=1, write_halves=True), tmp_path)
    assert not list(tmp_path.rglob("*.mrc"))
    assert simulate_dataset(config(models=1, write_halves=True), tmp_path).made == ("model_0",)


def test_splits_are_at_the_end_and_species_can_be_kept_apart(tmp_path):
    phantoms = [{**item, "split": split} for item, split in zip(SMALL["phantoms"], ("train", "test"), strict=True)]
    apart = config(models=3, validation=0, test=1, separate_species=True, phantoms=phantoms)
    assert [split_of(apart, index) for index in range(3)] == ["train", "train", "test"]
    simulate_dataset(apart, tmp_path)
    for index, name in enumerate(("big", "big", "small")):
        assert set(read_model(tmp_path / f"model_{index}").particles.labels) == {name}
        record = json.loads((tmp_path / f"model_{index}/model.json").read_text())
        assert record["split"] == split_of(apart, index)


def test_fresh_phantoms_differ_from_model_to_model():
    endless = config(phantoms=[], fresh_phantoms=2, counts=1, mass_range_kda=[100, 300])
    labels = [set(simulate_model(endless, index)[0].classes) for index in range(2)]
    assert not labels[0] & labels[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": None}, "counts or crowding"),
        ({"phantoms": []}, "no species"),
        ({"test": 5}, "5 test models of 2"),
        ({"shape": [4, 48, 48]}, "at least 8"),
        ({"vesicles": [3, 1]}, "vesicles"),
        ({"crowdin": 0.1}, "crowding"),
    ],
)
def test_wrong_settings_are_explained(changes, message):
    with pytest.raises(InputError, match=message):
        config(**changes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_says_its_command(path):
    loaded = load_config(SimulateConfig, path)
    assert path.read_text().startswith(f"# cryoembed simulate configs/{path.name} --out ")
    assert len(settings_digest(loaded)) == 16


def test_where_a_data_set_goes_does_not_change_it():
    values = {**SMALL, "out": "somewhere"}
    assert settings_digest(parse_config(SimulateConfig, values)) == settings_digest(config())


def test_the_recipe_says_what_it_made_and_what_it_kept(tmp_path):
    recipe = parse_config(SimulateConfig, {**SMALL, "out": tmp_path / "set"})
    assert simulate(recipe) == f"simulated 2 models with 16 particles, kept 0 that were complete: {tmp_path / 'set'}"
    assert "kept 2" in simulate(recipe)
    assert {"config.yaml", "provenance.json", "model_0", "model_1"} <= {p.name for p in (tmp_path / "set").iterdir()}


def test_simulating_on_the_cpu_needs_no_torch(tmp_path):
    recipe = parse_config(SimulateConfig, {**SMALL, "models": 1, "out": tmp_path / "set"})
    (tmp_path / "one.yaml").write_text(recipe.to_yaml())
    code = (
        "import sys; sys.argv = ['cryoembed', 'simulate', sys.argv[1]]\n"
        "from cryoembed.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "one.yaml")], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.split()[-1] == "False"
    assert (tmp_path / "set" / "model_0").is_dir()


def test_the_device_is_no_part_of_what_a_model_is(tmp_path):
    values = {**SMALL, "models": 1, "out": tmp_path / "set"}
    simulate(parse_config(SimulateConfig, values))
    assert "kept 1" in simulate(parse_config(SimulateConfig, {**values, "device": "auto"}))
    with pytest.raises(InputError, match="device"):
        parse_config(SimulateConfig, {**values, "device": "gpu"})


def test_the_mini_shrec_config_finds_all_its_species(shared_data):
    from cryoembed.simulate.dataset import shared_templates

    path = next(path for path in CONFIGS if path.stem == "simulate_mini_shrec")
    mini = load_config(SimulateConfig, path, [f"structure_folder={shared_data}"])
    assert len(shared_templates(mini)) == 13
