"""What a model's folder holds beside SHREC's own files, and SHREC's published frame."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import mrcfile
import numpy as np
import pandas as pd
import pytest

import cryoembed.simulate.folders as folders
import cryoembed.simulate.model_files as model_files
from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.geometry import nearest_voxel
from cryoembed.io.mrc import read_tomogram
from cryoembed.io.shrec import read_model
from cryoembed.io.tilt_series import read_tilts
from cryoembed.recipes.simulate import SimulateConfig
from cryoembed.simulate.dataset import simulate_model, split_of
from cryoembed.simulate.folders import simulate_dataset
from tests.simulate.test_dataset import CONFIGS, config


def test_the_cube_holds_the_sample_in_its_middle_and_the_truth_in_its_frame(tmp_path):
    settings = {"models": 1, "shape": [24, 48, 56], "vesicles": [1, 1], "fiducials": [1, 1], "write_halves": True}
    simulate_dataset(config(**settings), tmp_path / "thin")
    simulate_dataset(config(**settings, shrec_cube=True), tmp_path / "cube")
    thin, cube = (read_model(tmp_path / name / "model_0") for name in ("thin", "cube"))
    inner = (slice(16, 40), slice(4, 52), slice(0, 56))
    for name in ("reconstruction", "grandmodel", "class_mask", "occupancy_mask"):
        whole = np.asarray(getattr(cube, name).data)
        assert whole.shape == (56, 56, 56)
        assert np.array_equal(whole[inner], getattr(thin, name).data)
    outside = np.ones((56, 56, 56), dtype=bool)
    outside[inner] = False
    assert not np.asarray(cube.grandmodel.data)[outside].any()
    assert not np.asarray(cube.occupancy_mask.data)[outside].any()
    assert np.allclose(cube.reconstruction.data[outside], thin.reconstruction.data.mean(), atol=1e-4)
    assert read_tomogram(tmp_path / "cube/model_0/even.mrc").shape == (56, 56, 56)

    shift = [160.0, 40.0, 0.0]
    assert np.array_equal(cube.particles.positions_zyx, thin.particles.positions_zyx + shift)
    exact = pd.read_parquet(tmp_path / "cube/model_0/particles.parquet")
    assert np.array_equal(nearest_voxel(exact[["z", "y", "x"]] / 10.0) * 10.0, cube.particles.positions_zyx)
    record = json.loads((tmp_path / "cube/model_0/model.json").read_text())
    assert record["cube_offset_vox"] == [16, 4, 0]
    # a cropped cube and thin files meet in one frame
    cropped = read_model(tmp_path / "thin/model_0", origin=(160.0, 40.0, 0.0))
    assert np.array_equal(cropped.particles.positions_zyx, cube.particles.positions_zyx)


def test_masks_are_stored_in_the_smallest_integers(tmp_path):
    simulate_dataset(config(models=1), tmp_path)
    for name, mode in (("class_mask", 0), ("occupancy_mask", 0)):
        with mrcfile.mmap(tmp_path / f"model_0/{name}.mrc") as file:
            assert int(file.header.mode) == mode


def test_masks_of_structures_are_written_where_asked_for_and_there(tmp_path):
    simulate_dataset(config(models=1, fiducials=[2, 2], write_masks=True), tmp_path)
    assert [path.name for path in (tmp_path / "model_0/masks").iterdir()] == ["fiducial.mrc"]
    model = read_model(tmp_path / "model_0")
    gold = np.asarray(read_tomogram(tmp_path / "model_0/masks/fiducial.mrc").data)
    assert np.array_equal(gold > 0, model.class_mask.data == model.classes.index("fiducial") + 1)


@pytest.mark.parametrize("cube", [False, True])
def test_lamella_and_filaments_are_written_where_the_sample_has_them(tmp_path, monkeypatch, cube):
    path = pd.DataFrame({"instance": 1, "label": "actin", "point": [0, 1], "z": [0.0, 5], "y": [1.0, 2], "x": [3.0, 4]})

    def with_ice(*arguments, **settings):
        scene, imaged = simulate_model(*arguments, **settings)
        ice = np.zeros(scene.density.shape, dtype=bool)
        ice[4:-4] = True
        return replace(scene, sample_mask=ice, filaments=path), imaged

    monkeypatch.setattr(folders, "simulate_model", with_ice)
    simulate_dataset(config(models=1, shrec_cube=cube), tmp_path)
    lamella = np.asarray(read_tomogram(tmp_path / "model_0/lamella_mask.mrc").data)
    assert lamella.dtype == np.int8
    assert lamella.sum() == 24 * 48 * 56
    written = pd.read_parquet(tmp_path / "model_0/filaments.parquet")
    shift = [120.0, 40.0, 0.0] if cube else [0.0, 0.0, 0.0]
    assert np.array_equal(written[["z", "y", "x"]], path[["z", "y", "x"]] + shift)


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(model_files, "write_mrc", full)
        with pytest.raises(InputError, match=r"model_0: No space left on device; choose another --out or free some"):
            simulate_dataset(config(models=1, write_halves=True), tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("cryoembed.simulate.cost.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"GB needed, 0\.00 GB free"):
        simulate_dataset(config(models=1), tmp_path)


def test_a_tilt_series_is_written_with_its_angles_and_what_they_truly_were(tmp_path):
    imaging = {"write_tilt_series": True, "angle_jitter_deg": 1.0, "shift_sd": [5.0, 5.0], "tilt_step_deg": 10.0}
    simulate_dataset(config(models=1, imaging=imaging), tmp_path)
    folder = tmp_path / "model_0"
    nominal = read_tilts(folder / "tilt_series.tlt", images=13).tilts_deg
    assert np.array_equal(nominal, np.arange(-60, 61, 10))
    series = read_tomogram(folder / "tilt_series.mrc")
    assert (series.shape[0], series.voxel_size) == (13, 10.0)
    truth = pd.read_parquet(folder / "tilt_series.parquet")
    assert np.array_equal(truth["nominal_deg"], nominal)
    assert 0.3 < (truth["tilt_deg"] - nominal).std() < 3
    assert truth[["shift_y_px", "shift_x_px"]].to_numpy().std() > 0.1
    assert truth["dose"].is_unique


def test_binned_tomograms_come_with_truth_of_their_size_in_the_same_frame(tmp_path):
    whole, binned = (config(models=1, imaging={"binning": binning, "tilt_step_deg": 10.0}) for binning in (1, 2))
    simulate_dataset(whole, tmp_path / "whole")
    simulate_dataset(binned, tmp_path / "binned")
    fine, coarse = (read_model(tmp_path / name / "model_0") for name in ("whole", "binned"))
    assert coarse.reconstruction.shape == (16, 24, 28)
    assert coarse.grandmodel.voxel_size == 20.0
    assert np.array_equal(coarse.occupancy_mask.data, fine.occupancy_mask.data[::2, ::2, ::2])
    assert np.abs(coarse.particles.positions_zyx - fine.particles.positions_zyx).max() <= 10.0
    assert np.corrcoef(coarse.grandmodel.data.ravel(), fine.grandmodel.data[::2, ::2, ::2].ravel())[0, 1] > 0.9
    exact = [pd.read_parquet(tmp_path / name / "model_0/particles.parquet") for name in ("whole", "binned")]
    assert exact[0].equals(exact[1])


def test_each_model_may_have_a_file_of_angles_of_its_own(tmp_path):
    for index, step in enumerate((10, 15)):
        angles = np.arange(-60, 61, step)
        (tmp_path / f"angles_{index}.tlt").write_text("\n".join(map(str, angles)))
    own = config(imaging={"tilt_file": "angles_{model}.tlt"}, structure_folder=tmp_path)
    simulate_dataset(own, tmp_path / "set")
    records = [json.loads((tmp_path / f"set/model_{index}/model.json").read_text()) for index in (0, 1)]
    assert [record["tilts"] for record in records] == [13, 9]
    assert not simulate_dataset(own, tmp_path / "set").made
    (tmp_path / "angles_1.tlt").write_text("-40\n0\n40\n")
    with pytest.raises(InputError, match="model_1 was made with other settings"):
        simulate_dataset(own, tmp_path / "set")
    (tmp_path / "angles_1.tlt").unlink()
    with pytest.raises(InputError, match=r"angles_1\.tlt"):
        simulate_dataset(own, tmp_path / "other")


def test_shrec_in_full_says_what_the_published_configuration_says():
    path = next(path for path in CONFIGS if path.stem == "simulate_shrec")
    shrec, mini = (load_config(SimulateConfig, path.with_stem(stem)) for stem in (path.stem, "simulate_mini_shrec"))
    assert (shrec.shape, shrec.voxel_size, shrec.particles) == ((180, 512, 512), 10.0, (1000, 3000))
    assert [split_of(shrec, index) for index in range(10)] == ["train"] * 8 + ["validation", "test"]
    assert (shrec.vesicles, shrec.fiducials) == ((2, 7), (7, 14))
    assert len(shrec.structures) == 13
    assert {spec.split for spec in shrec.structures} == {"test"}
    assert mini.imaging == shrec.imaging
    assert len(shrec.imaging.planned_tilts_deg()) == 61
