"""Whole volumes: equal to one pass in any tiling, planted voxels come back at their place, memory maps in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoembed.errors import InputError
from cryoembed.infer.plan import plan_volume
from cryoembed.infer.voxels import predict_volume, run_plan
from tests.infer.conftest import OUTPUTS

FP32 = {"device": "cpu", "precision": "fp32"}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@torch.inference_mode()
def one_pass(network, volume: np.ndarray, outputs=OUTPUTS) -> dict[str, np.ndarray]:
    maps = network.predict(torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None], outputs)
    return {name: (map_[0] if map_.shape[1] > 1 else map_[0, 0]).numpy() for name, map_ in maps.items()}


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((1, 1, 1), None),
        ((5, 3, 7), None),
        ((8, 8, 8), None),
        ((9, 17, 33), None),
        ((23, 70, 41), 16),
        ((34, 21, 120), (24, 40)),
        ((12, 70, 13), 8),
    ],
)
def test_any_size_and_tile_equals_one_pass(voxels, shape, tile):
    volume = noise(*shape)
    maps = predict_volume(voxels, volume, outputs=OUTPUTS, tile=tile, **FP32)
    for name, expected in one_pass(voxels, volume).items():
        assert maps[name].dtype == np.float32
        np.testing.assert_allclose(maps[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_stem_of_stride_two_equals_one_pass(coarse_voxels):
    volume = noise(19, 45, 66)
    maps = predict_volume(coarse_voxels, volume, outputs=OUTPUTS, tile=16, **FP32)
    for name, expected in one_pass(coarse_voxels, volume).items():
        np.testing.assert_allclose(maps[name], expected, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("tile", [None, 16])
def test_planted_voxel_comes_back_at_its_place(voxels, tile):
    shape, size = (24, 40, 24), np.array([24, 40, 24])
    plan = plan_volume(voxels, np.zeros(shape, np.float32), outputs=("embedding",), tile=tile, **FP32)
    empty = run_plan(plan, np.zeros(shape, np.float32))["embedding"].copy()
    planted = [size // 2, (0, 0, 0), size - 1]  # centre, corners, faces, seams of tiles and of slabs
    planted += [np.where(np.arange(3) == axis, face, size // 2) for axis in range(3) for face in (0, size[axis] - 1)]
    planted += [(12, 15, 12), (12, 16, 15), (12, 31, 16), (15, 32, 15), (16, 32, 16)]
    for place in map(tuple, planted):
        volume = np.zeros(shape, np.float32)
        volume[place] = 50.0
        change = np.abs(run_plan(plan, volume)["embedding"] - empty).max(axis=0)
        expected = np.abs(one_pass(voxels, volume, ("embedding",))["embedding"] - empty).max(axis=0)
        np.testing.assert_allclose(change, expected, atol=1e-5)
        assert change[place] > 0.05, place
        where = np.argwhere(change > 0.05)
        assert np.abs(where - place).max() <= 42, place


def test_opposite_faces_do_not_see_each_other(voxels):
    volume = noise(16, 120, 16)
    changed = volume.copy()
    changed[:, -1] += 30.0
    before, after = (
        predict_volume(voxels, one, outputs=("embedding",), tile=(24, 16), **FP32) for one in (volume, changed)
    )
    np.testing.assert_array_equal(before["embedding"][:, :, :60], after["embedding"][:, :, :60])


def test_memory_maps_are_read_and_filled_in_half_precision(voxels, tmp_path):
    shape = (20, 33, 30)
    volume = np.memmap(tmp_path / "volume", np.float32, "w+", shape=shape)
    volume[:] = noise(*shape)
    embedding = np.memmap(tmp_path / "embedding", np.float16, "w+", shape=(8, *shape))
    distance = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, shape)
    out = {"embedding": embedding, "distance": distance}
    steps: list[float] = []
    maps = predict_volume(voxels, volume, outputs=("embedding", "distance"), out=out, progress=steps.append, **FP32)
    expected = one_pass(voxels, volume, ("embedding", "distance"))
    assert maps["embedding"] is embedding
    np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-3)
    np.testing.assert_allclose(np.load(tmp_path / "d.npy", mmap_mode="r"), expected["distance"], atol=1e-5)
    assert sum(steps) == pytest.approx(1.0)


def test_less_memory_means_more_tiles_and_the_same_result(voxels):
    volume = noise(16, 140, 150)
    roomy = plan_volume(voxels, volume, outputs=("embedding",), memory=4, **FP32)
    tight = plan_volume(voxels, volume, outputs=("embedding",), memory=0.02, **FP32)
    assert len(roomy.tiles) == 1 < len(tight.tiles)
    assert tight.bytes <= 0.02 * 2**30 < roomy.bytes
    one, other = (run_plan(plan, volume)["embedding"] for plan in (roomy, tight))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_bf16_agrees_with_float32(voxels):
    volume = noise(24, 40, 56)
    maps = predict_volume(voxels, volume, outputs=OUTPUTS, device="cpu", precision="bf16", tile=24)
    expected = one_pass(voxels, volume)
    cosine = np.sum(maps["embedding"] * expected["embedding"], axis=0)
    assert np.percentile(cosine, 1) >= 0.999
    np.testing.assert_allclose(np.linalg.norm(maps["embedding"], axis=0), 1.0, atol=1e-3)
    for name in OUTPUTS[1:]:
        assert np.corrcoef(maps[name].ravel(), expected[name].ravel())[0, 1] > 0.999, name


def test_bf16_that_fails_the_self_check_falls_back_with_a_warning(voxels, monkeypatch, caplog):
    monkeypatch.setattr("cryoembed.infer.plan.agrees", lambda *_: False)
    plan = plan_volume(voxels, noise(16, 16, 16), outputs=("embedding",), device="cpu", precision="bf16")
    assert plan.precision == "fp32"
    assert "bfloat16" in caplog.text


def test_the_model_is_left_as_it_was(voxels):
    before = {name: tensor.clone() for name, tensor in voxels.state_dict().items()}
    predict_volume(voxels, noise(8, 8, 8), outputs=("embedding",), device="cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in voxels.state_dict().items())


def test_plan_tells_time_and_memory(voxels):
    plan = plan_volume(voxels, noise(16, 24, 24), outputs=("embedding",), **FP32)
    assert "16 x 24 x 24 voxels on cpu in fp32, in one piece" in str(plan)
    assert plan.seconds > 0
    assert plan.bytes > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outputs": ("labels",)}, "labels"),
        ({"outputs": ()}, "no outputs"),
        ({"tile": 0}, "tile 0"),
        ({"memory": 0.0}, "memory"),
        ({"out": {"embedding": np.empty((3, 3, 3))}}, "expected"),
        ({"out": {"distance": np.empty((8, 8, 8))}}, "not among the outputs"),
        ({"precision": "fp8"}, "fp8"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_unusable_settings_are_explained(voxels, settings, message):
    with pytest.raises(InputError, match=message):
        predict_volume(voxels, noise(8, 8, 8), **({"outputs": ("embedding",), "device": "cpu"} | settings))


def test_other_than_3d_is_refused(voxels):
    with pytest.raises(InputError, match="3D"):
        predict_volume(voxels, np.zeros((1, 8, 8, 8), np.float32), device="cpu")
