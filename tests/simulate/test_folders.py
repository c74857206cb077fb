"""What a model's folder holds beside SHREC's own files, and SHREC's published frame."""

from __future__ import annotations

import json
from dataclasses import replace

import mrcfile
import numpy as np
import pandas as pd
import pytest

import cryoembed.simulate.folders as folders
from cryoembed.geometry import nearest_voxel
from cryoembed.io.mrc import read_tomogram
from cryoembed.io.shrec import read_model
from cryoembed.simulate.dataset import simulate_model
from cryoembed.simulate.folders import simulate_dataset
from tests.simulate.test_dataset import config


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

    def with_ice(*arguments):
        scene, imaged = simulate_model(*arguments)
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
    import errno

    from cryoembed.errors import InputError

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "write_mrc", full)
        with pytest.raises(InputError, match=r"model_0: No space left on device; choose another --out or free some"):
            simulate_dataset(config(models=1, write_halves=True), tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("cryoembed.simulate.cost.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"GB needed, 0\.00 GB free"):
        simulate_dataset(config(models=1), tmp_path)
