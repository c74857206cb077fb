"""The self-check before a volume is computed: what is compared with what."""

import numpy as np

from cryoembed.infer.plan import plan_volume
from cryoembed.models.checkpoint import bundled_weights, load_weights
from cryoembed.models.dense_simsiam import VoxelNetwork


def test_bundled_heads_agree_in_bf16_output_by_output() -> None:
    network = load_weights(bundled_weights("voxel_small")).module
    assert isinstance(network, VoxelNetwork)
    noise = np.random.default_rng(0).normal(size=(32, 48, 48)).astype(np.float32)
    heads = ("denoise", "distance", "boundary", "foreground")  # all near zero on noise: a vector of them means nothing
    assert plan_volume(network, noise, outputs=heads, device="cpu", precision="bf16").precision == "bf16"
