"""Reconstruction is learnt from the visible patches, and every part of the network learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryoembed.models.build import build
from cryoembed.models.config import MaskedAutoencoderConfig, VitConfig
from cryoembed.training.config import TrainConfig
from cryoembed.training.fit import fit
from cryoembed.training.objectives.contrastive import Contrastive
from cryoembed.training.objectives.masked_autoencoder import Reconstruction
from cryoembed.views.masking import visible_patches

NETWORK = MaskedAutoencoderConfig(
    patch_vox=4,
    encoder=VitConfig(width=24, depth=1, heads=2),
    decoder=VitConfig(width=24, depth=1, heads=2),
    embedding_dim=24,
    box_vox=8,
)


def ramps(generator: np.random.Generator, number: int = 0) -> dict[str, Tensor]:
    """Ramps of random direction: two patches tell the other six."""
    line = np.linspace(-1, 1, 8)
    direction = generator.normal(size=(16, 3))
    boxes = np.einsum("ba,azyx->bzyx", direction, np.stack(np.meshgrid(line, line, line, indexing="ij")))
    visible = visible_patches(generator, batch=16, patches=8, mask_ratio=0.75)
    return {"input": torch.from_numpy(boxes.astype(np.float32))[:, None], "visible": visible}


@pytest.mark.parametrize("normalised", [False, True])
def test_hidden_patches_of_ramps_are_guessed_from_two_visible_ones(tmp_path: Path, normalised: bool) -> None:
    torch.manual_seed(0)
    objective = Reconstruction(build(NETWORK), normalised_target=normalised)
    config = TrainConfig(steps=150, learning_rate=0.005, gradient_clip=5.0, precision="fp32", device="cpu")
    fit(objective, ramps, config, folder=tmp_path)
    terms = objective(ramps(np.random.default_rng(99)))
    assert float(terms["explained"]) > 0.7
    assert float(terms["loss"].detach()) < 0.3


def test_reconstruction_reaches_every_part() -> None:
    network = build(NETWORK)
    Reconstruction(network, normalised_target=False)(ramps(np.random.default_rng(0)))["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_contrastive_refinement_reaches_encoder_and_projector() -> None:
    network = build(NETWORK.model_copy(update={"projector": True, "embedding_dim": 8, "decoder": None}))
    batch = {"input": ramps(np.random.default_rng(0))["input"], "label": torch.arange(4).repeat_interleave(4)}
    Contrastive(network, temperature=0.1)(batch)["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
