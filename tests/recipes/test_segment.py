from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from cryoembed.errors import InputError
from cryoembed.instances.config import InstanceConfig
from cryoembed.io import read_mrc, read_particles, read_tomogram, write_mrc
from cryoembed.models.build import build
from cryoembed.models.checkpoint import save_weights
from cryoembed.models.config import BackboneConfig, ModelCard, VoxelNetworkConfig
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes import find_instances as finding
from cryoembed.recipes.segment import SegmentConfig, segment
from cryoembed.semantic import SEMANTIC_CLASSES

SHAPE = (32, 40, 48)
CENTRES = np.array([[8, 10, 10], [16, 28, 20], [20, 12, 34], [24, 30, 40], [3, 20, 44]])  # voxels
ORIGIN = (720.0, 960.0, 960.0)
VOXEL_SIZE = 12.5


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = VoxelNetworkConfig(
        backbone=BackboneConfig(width=4, blocks=(1, 1)),
        pyramid_channels=4,
        voxel_dim=4,
        global_dim=4,
        head_channels=4,
        heads=("denoise", "instance", "semantic", "lamella"),
    )
    return saved(network, tmp_path / "tiny.safetensors")


def saved(network: VoxelNetworkConfig, path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(path, build(network), ModelCard(name="tiny", network=network, input=InputConfig(voxel_size=10.0)))
    return path


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    """Dark balls of 45 A radius."""
    grid = np.indices(SHAPE)
    volume = np.random.default_rng(0).normal(scale=0.3, size=SHAPE)
    for centre in CENTRES:
        volume[((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 3.6**2] -= 6
    path = tmp_path / "TS_01.mrc"
    write_mrc(path, volume.astype(np.float32), VOXEL_SIZE)
    return path


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A network that sees bright particles; returns the outputs it was asked for, call by call."""
    calls: list[tuple[str, ...]] = []

    def predict(model: Any, volume: np.ndarray, *, outputs: tuple[str, ...], **settings: Any) -> dict[str, Any]:
        calls.append(tuple(outputs))
        smooth = gaussian_filter(volume, 1.0)
        foreground = 1 / (1 + np.exp(-6 * (smooth - 1)))
        made = {"foreground": foreground, "distance": smooth, "boundary": 0 * smooth, "denoise": smooth}
        made["lamella"] = np.broadcast_to((np.indices(volume.shape)[0] < 16).astype(float), volume.shape)  # upper part
        made["semantic"] = np.stack([1 - foreground, foreground, *[0 * smooth] * 4])
        out: Mapping[str, np.ndarray] = settings["out"] or {name: np.empty_like(made[name]) for name in outputs}
        for name in outputs:
            out[name][:] = made[name]
        settings["progress"](1.0)
        return dict(out)

    monkeypatch.setattr(finding, "predict_volume", predict)
    return calls


def config(tomogram: Path, weights: Path, **changes: Any) -> SegmentConfig:
    settings = {"tomograms": (tomogram,), "out": tomogram.parent / "out", "weights": str(weights), "origin": ORIGIN}
    return SegmentConfig(**(settings | changes))


def test_planted_particles_are_found_in_the_parent_frame_and_in_relion(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    closing = segment(config(tomogram, weights))
    out = tomogram.parent / "out"
    assert "kept 5 particles in 1 tomogram" in closing
    assert str(out) in closing
    picks = read_particles(out / "TS_01_particles.csv")
    planted = CENTRES * VOXEL_SIZE + ORIGIN
    distances = np.linalg.norm(picks.positions_zyx[:, None] - planted[None], axis=-1)
    assert distances.min(axis=0).max() < 10.0
    assert (np.diff(picks.column("score", 0)) <= 0).all()
    assert len(set(picks.column("particle_id", ""))) == 5
    star = read_particles(out / "TS_01_particles.star", tomogram=read_tomogram(tomogram, origin=ORIGIN))
    np.testing.assert_allclose(star.positions_zyx, picks.positions_zyx, atol=1e-3)
    assert not list(out.glob(".*"))  # no scratch is left
    assert {"config.yaml", "provenance.json"} <= {path.name for path in out.iterdir()}


def test_label_volume_lies_in_the_same_frame_as_the_picks(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    segment(config(tomogram, weights, origin=(0.0, 0.0, 0.0)))
    labels = read_tomogram(tomogram.parent / "out/TS_01_instances.mrc")
    picks = read_particles(tomogram.parent / "out/TS_01_particles.csv")
    assert labels.voxel_size == pytest.approx(10.0)
    voxels = np.floor(labels.to_voxel(picks.positions_zyx) + 0.5).astype(int)
    np.testing.assert_array_equal(labels.data[tuple(voxels.T)], picks.column("instance", -1))


def test_a_second_run_skips_what_is_done_and_other_settings_do_it_again(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    segment(config(tomogram, weights))
    assert "skipped TS_01" in segment(config(tomogram, weights))
    assert len(seeing) == 1
    segment(config(tomogram, weights, instances=InstanceConfig(min_volume_A3=1e7)))
    assert len(seeing) == 2
    (tomogram.parent / "out/TS_01_particles.star").unlink()
    segment(config(tomogram, weights, instances=InstanceConfig(min_volume_A3=1e7)))
    assert len(seeing) == 3


def test_nothing_found_is_said_and_files_are_written(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    closing = segment(config(tomogram, weights, instances=InstanceConfig(min_volume_A3=1e7)))
    assert "none found in TS_01" in closing
    assert len(read_particles(tomogram.parent / "out/TS_01_particles.csv")) == 0
    assert not read_mrc(tomogram.parent / "out/TS_01_instances.mrc")[0].any()


def test_a_real_network_gives_a_label_volume(tomogram: Path, weights: Path) -> None:
    found = finding.find_instances(
        read_tomogram(tomogram),
        finding.load_voxel_model(str(weights)),
        InstanceConfig(),
        device="cpu",
        precision="fp32",
    )
    assert found.labels.shape == found.prepared.tomogram.shape == (40, 50, 60)
    assert found.maps["foreground"].shape == found.labels.shape


def test_wrong_input_is_refused_before_anything_is_written(tomogram: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="several tomograms are called TS_01"):
        segment(config(tomogram, weights, tomograms=(tomogram, tmp_path / "other" / "TS_01.mrc")))
    with pytest.raises(InputError, match="do not exist"):
        segment(config(tomogram, tmp_path / "missing.safetensors"))
    assert not (tomogram.parent / "out").exists()


def test_weights_without_instance_head_are_refused(tomogram: Path, tmp_path: Path) -> None:
    network = VoxelNetworkConfig(backbone=BackboneConfig(width=4, blocks=(1, 1)), pyramid_channels=4, voxel_dim=4)
    path = tmp_path / "headless.safetensors"
    save_weights(path, build(network), ModelCard(name="headless", network=network))
    with pytest.raises(InputError, match="no instance head"):
        segment(config(tomogram, path))


def test_nan_volume_is_refused_and_leaves_no_outputs(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.mrc"
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    volume[3, 3, 3] = np.nan
    write_mrc(path, volume, 10.0)
    with pytest.raises(InputError, match="NaN"):
        segment(config(path, weights))
    assert not (tmp_path / "out").exists()


def test_a_picture_of_the_embeddings_is_written_when_asked_for(tomogram: Path, weights: Path) -> None:
    out, other = tomogram.parent / "out", InstanceConfig(min_volume_A3=1e7)

    def run(**changes: Any) -> str:
        return segment(config(tomogram, weights, device="cpu", precision="fp32", **changes))

    run()
    assert not list(out.glob("*.png"))
    run(picture=True)
    assert Image.open(out / "TS_01_embedding.png").size == (2 * 60 + 4, 50)
    assert "skipped TS_01" in run(picture=True)
    run(instances=other)
    assert "skipped TS_01" not in run(instances=other, picture=True)  # the picture there was of other settings
    assert not list(out.glob(".*"))


def test_classes_and_lamella_are_written_with_the_names_of_the_classes(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    closing = segment(config(tomogram, weights, tasks=("instance", "semantic", "lamella")))
    assert "kept 5 particles" in closing
    assert len(seeing) == 1  # all in one pass
    out = tomogram.parent / "out"
    classes, instances = read_tomogram(out / "TS_01_semantic.mrc"), read_tomogram(out / "TS_01_instances.mrc")
    assert classes.data.dtype == np.int8
    assert classes.shape == instances.shape
    assert classes.origin == instances.origin
    assert set(np.unique(classes.data)) == {0, SEMANTIC_CLASSES.index("particle")}
    assert (classes.data[instances.data > 0] == 1).mean() > 0.9
    lamella = read_mrc(out / "TS_01_lamella.mrc")[0]
    assert lamella[:16].all()
    assert not lamella[16:].any()
    assert json.loads((out / "TS_01_segment.json").read_text())["semantic_classes"] == list(SEMANTIC_CLASSES)


def test_classes_alone_need_no_instances_and_come_from_the_network_itself(tomogram: Path, weights: Path) -> None:
    closing = segment(config(tomogram, weights, tasks=("semantic",), device="cpu", precision="fp32"))
    assert closing.startswith("labelled 1 tomogram; ")
    out = tomogram.parent / "out"
    assert not list(out.glob("*particles*"))
    assert read_mrc(out / "TS_01_semantic.mrc")[0].shape == (40, 50, 60)
    again = segment(config(tomogram, weights, tasks=("semantic",), device="cpu", precision="fp32"))
    assert "skipped TS_01" in again


def test_instances_outside_the_lamella_are_left_out_where_asked(
    tomogram: Path, weights: Path, seeing: list[tuple[str, ...]]
) -> None:
    closing = segment(config(tomogram, weights, instances=InstanceConfig(inside_lamella=True)))
    assert "kept 2 particles" in closing
    picks = read_particles(tomogram.parent / "out/TS_01_particles.csv")
    assert (picks.positions_zyx[:, 0] < ORIGIN[0] + 16 * 10.0).all()
    labels = read_mrc(tomogram.parent / "out/TS_01_instances.mrc")[0]
    assert sorted(np.unique(labels)) == [0, 1, 2]
    assert sorted(picks.column("instance", 0)) == [1, 2]


def test_a_task_without_its_head_is_refused(tomogram: Path, tmp_path: Path) -> None:
    network = VoxelNetworkConfig(
        backbone=BackboneConfig(width=4, blocks=(1, 1)), pyramid_channels=4, heads=("instance",)
    )
    weights = saved(network, tmp_path / "less.safetensors")
    with pytest.raises(InputError, match="no semantic and no lamella head"):
        segment(config(tomogram, weights, tasks=("semantic", "lamella")))
    with pytest.raises(InputError, match="no lamella head"):
        segment(config(tomogram, weights, instances=InstanceConfig(inside_lamella=True)))
