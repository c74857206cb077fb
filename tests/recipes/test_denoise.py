"""denoise end to end: MRC in, MRC out in the same frame, skipped when done, refused when impossible."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io.mrc import read_tomogram, write_mrc
from cryoembed.models.build import build
from cryoembed.models.checkpoint import save_weights
from cryoembed.models.config import BackboneConfig, ModelCard, VoxelNetworkConfig
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.denoise import DenoiseConfig, denoise


def save_network(path, heads):
    torch.manual_seed(0)
    network = VoxelNetworkConfig(
        backbone=BackboneConfig(width=4), pyramid_channels=4, voxel_dim=4, head_channels=4, heads=heads
    )
    module = build(network).eval()
    save_weights(path, module, ModelCard(name="tiny", network=network, input=InputConfig(voxel_size=10.0)))
    return module


@pytest.fixture
def tomogram(tmp_path):
    volume = np.random.default_rng(0).standard_normal((20, 27, 33)).astype(np.float32)
    write_mrc(tmp_path / "ts_01.mrc", volume, 10.0)
    return tmp_path / "ts_01.mrc"


def test_denoised_volume_is_the_networks_in_the_same_frame_and_done_once(tmp_path, tomogram):
    module = save_network(tmp_path / "tiny.safetensors", ("denoise",))
    values = {"tomograms": (tomogram,), "out": tmp_path / "out", "weights": str(tmp_path / "tiny.safetensors")}
    config = DenoiseConfig(**values, contrast="bright", device="cpu", precision="fp32", origin=(720.0, 960.0, 50.0))
    assert denoise(config) == f"denoised 1 tomogram: {tmp_path / 'out'}"

    result = read_tomogram(tmp_path / "out" / "ts_01_denoised.mrc")
    prepared = prepare(read_tomogram(tomogram), InputConfig(voxel_size=10.0), contrast="bright").tomogram
    with torch.inference_mode():
        expected = module.predict(torch.from_numpy(prepared.data)[None, None], ("denoise",))["denoise"][0, 0]
    np.testing.assert_allclose(result.data, expected, atol=1e-5)
    assert result.voxel_size == pytest.approx(10.0)
    assert json.loads((tmp_path / "out" / "ts_01_denoised.json").read_text())["input"]["contrast"] == "bright"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.yaml",
        "provenance.json",
        "ts_01_denoised.json",
        "ts_01_denoised.mrc",
    ]
    assert "skipped 1" in denoise(config)
    assert load_config(DenoiseConfig, tmp_path / "out" / "config.yaml") == config


def test_impossible_requests_leave_nothing(tmp_path, tomogram):
    save_network(tmp_path / "other.safetensors", ("instance",))
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no denoise head"):
        denoise(DenoiseConfig(tomograms=(tomogram,), out=out, weights=str(tmp_path / "other.safetensors")))
    with pytest.raises(InputError, match="several tomograms are called ts_01"):
        denoise(DenoiseConfig(tomograms=(tomogram, tmp_path / "b" / "ts_01.mrc"), out=out))
    save_network(tmp_path / "tiny.safetensors", ("denoise",))
    with pytest.raises(InputError, match="tpu"):
        denoise(DenoiseConfig(tomograms=(tomogram,), out=out, weights=str(tmp_path / "tiny.safetensors"), device="tpu"))
    assert not out.exists() or list(out.iterdir()) == []
