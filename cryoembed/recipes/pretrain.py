"""pretrain: teach a network what looks alike, without labels of real data; weights with a model card come out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryoembed.errors import InputError
from cryoembed.models.build import Network, build
from cryoembed.models.checkpoint import find_weights, load_weights, start_from
from cryoembed.models.config import ModelCard
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.models.vit import MaskedAutoencoder
from cryoembed.recipes.pretrain_config import PretrainConfig
from cryoembed.recipes.pretrain_data import class_count, drawing
from cryoembed.recipes.training_data import training_files, training_summary
from cryoembed.recipes.training_run import finish, run_training
from cryoembed.training.objectives.contrastive import Contrastive, Refinement, SimCLR
from cryoembed.training.objectives.masked_autoencoder import Reconstruction
from cryoembed.training.objectives.shapes import shape_descriptors
from cryoembed.training.objectives.siamese import DenseSimSiam, SimSiam
from cryoembed.views.pool import SubtomogramConfig, SubtomogramPool, clean_boxes

__all__ = ["PretrainConfig", "pretrain"]

_log = logging.getLogger(__name__)
_TURNS = 3  # orientations that a class's shape is measured in


def pretrain(config: PretrainConfig) -> str:
    """Train by the chosen method and write ``weights.safetensors``; a checkpoint in the folder is resumed.

    Raises
    ------
    InputError
        If no output folder is given, data or weights cannot be read, the weights do not fit, or a checkpoint of other
        settings lies in the folder.
    """
    if config.out is None:
        raise InputError("pretrain: give an experiment folder with --out")
    torch.manual_seed(config.train.seed)
    network = build(config.network)
    origin = _start(network, config)
    with drawing(config, config.out) as (draw, pool):
        result = run_training(_objective(network, config, pool), draw, config, config.train, config.out)
    card = ModelCard(
        name=config.name,
        network=config.network,
        input=config.input,
        description=f"{config.method}{_beside(config)}, seed {config.train.seed}{origin}",
        training_data=training_summary(config.data, config.dataset, config.stream, config.structures)
        + _real_summary(config),
        recipe="pretrain",
    )
    inputs = _files(config)
    return finish(result, network, config, config.train, config.out, card, half=config.half, inputs=inputs)


def _objective(network: Network, config: PretrainConfig, pool: SubtomogramPool | None) -> torch.nn.Module:
    """A new method gets its case here, and in `pretrain_data` one for its batches."""
    if isinstance(network, VoxelNetwork):
        return DenseSimSiam(network)
    real_weight = config.real.weight if config.real is not None else 1.0
    match config.method:
        case "simsiam":
            assert isinstance(network, SubtomogramNetwork)  # the config's check, as below
            return SimSiam(network)
        case "mae":
            assert isinstance(network, MaskedAutoencoder)
            return Reconstruction(network, normalised_target=config.normalised_target)
        case "simclr":
            return SimCLR(network, temperature=config.temperature)
        case "refine":
            return Refinement(network, margin=config.margin, temperature=config.temperature, real_weight=real_weight)
        case _:
            classes = class_count(config) if config.proxies else 0
            return Contrastive(
                network,
                temperature=config.temperature,
                real_weight=real_weight,
                classes=classes,
                shapes=_shapes(pool, config),
                shape_weight=config.shape_weight,
            )


def _shapes(pool: SubtomogramPool | None, config: PretrainConfig) -> Tensor | None:
    """What the classes look like, the same for the same settings."""
    if not config.shape_dims:
        return None
    assert pool is not None  # the config's check, as below
    assert isinstance(config.data, SubtomogramConfig)
    generator = np.random.default_rng([config.data.seed, 4])
    return shape_descriptors(clean_boxes(pool, config.data, generator, turns=_TURNS), config.shape_dims)


def _beside(config: PretrainConfig) -> str:
    """What the card says of the loss besides its pairs."""
    parts = ["proxies"] * config.proxies + [f"{config.shape_dims} shape descriptors"] * bool(config.shape_dims)
    return f" with {' and '.join(parts)}" if parts else ""


def _start(network: Network, config: PretrainConfig) -> str:
    """Copy the weights to start from, where given; return what the card says of them."""
    if config.weights is None:
        return ""
    loaded = load_weights(find_weights(config.weights))
    card = loaded.card
    if config.method == "refine" and (card.network != config.network or card.input != config.input):
        raise InputError(
            f"refine goes on with the network of its pretraining, but {config.weights} ({card.name}) has other "
            "settings of network or input; copy both from the config.yaml beside it"
        )
    if card.input != config.input:
        _log.warning("%s, to start from, read another input: %s there, %s here", card.name, card.input, config.input)
    start_from(network, loaded.module)
    return f", from {card.name} ({loaded.model_hash})"


def _files(config: PretrainConfig) -> list[Path]:
    """What the training read."""
    files = training_files(
        dataset=config.dataset,
        stream=config.stream,
        structures=config.structures,
        structure_folder=config.structure_folder,
    )
    if config.real is not None:
        files += [*config.real.tomograms, *(path for pair in config.real.halves for path in pair)]
    return files if config.weights is None else [*files, find_weights(config.weights)]


def _real_summary(config: PretrainConfig) -> str:
    if config.real is None:
        return ""
    count = len(config.real.tomograms) + len(config.real.halves)
    return f"; {count} real tomogram{'s' if count > 1 else ''} without labels, {config.real.share:.0%} of each batch"
