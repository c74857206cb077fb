"""pretrain: teach a network what looks alike, without labels of real data; weights with a model card come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, start_from
from cryoembed.models.config import (
    MaskedAutoencoderConfig,
    ModelCard,
    NetworkConfig,
    SubtomogramEncoderConfig,
    VoxelNetworkConfig,
)
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.models.receptive import total_stride
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.models.vit import MaskedAutoencoder
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.training_data import Stream, check_stream, scene_source, training_summary
from cryoembed.recipes.training_run import finish, run_training
from cryoembed.simulate.density.structure_spec import StructureSpec
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Draw
from cryoembed.training.objectives.contrastive import Contrastive
from cryoembed.training.objectives.masked_autoencoder import Reconstruction
from cryoembed.training.objectives.siamese import DenseSimSiam, SimSiam
from cryoembed.views.augment import AugmentConfig
from cryoembed.views.dense import draw_view_pairs
from cryoembed.views.masking import draw_masked
from cryoembed.views.pool import RESOLUTION_PER_VOXEL, RollingPool, SubtomogramConfig, SubtomogramPool, build_pool
from cryoembed.views.rendering import OVERSAMPLING
from cryoembed.views.rolling import Fixed
from cryoembed.views.scenes import SceneConfig
from cryoembed.views.structures import load_structures
from cryoembed.views.subtomograms import draw_box_pairs, draw_classes

NETWORKS = {  # network kinds that each method trains
    "dense_simsiam": ("dense_simsiam",),
    "simsiam": ("simsiam",),
    "contrastive": ("simsiam", "vit"),
    "mae": ("vit",),
}
Data = Annotated[SceneConfig | SubtomogramConfig, Field(discriminator="kind")]


class PretrainConfig(Config):
    """Settings of `pretrain`."""

    name: str = Field("pretrained", description="what the model card calls the network")
    method: Literal["dense_simsiam", "simsiam", "contrastive", "mae"]
    network: NetworkConfig
    weights: Path | None = Field(None, description="start from these; layers of another shape stay new")
    input: InputConfig = InputConfig()
    data: Data
    dataset: Path | None = Field(None, description="folder of model_N in SHREC's layout, instead of new scenes")
    held_back: bool = Field(False, description="let dataset show species of the validation and test splits")
    stream: Stream = Field(None, description="settings of simulate (or their file): endless samples, no disk")
    structures: tuple[StructureSpec, ...] = Field((), description="maps or models that join the phantoms")
    augment: AugmentConfig = AugmentConfig()
    batch: int = Field(4, ge=2, description="crops (dense_simsiam), particles (simsiam, mae), classes (contrastive)")
    views: int = Field(4, ge=2, description="boxes per class (contrastive)")
    window_vox: int = Field(48, ge=8, description="edge of the two windows in a crop (dense_simsiam)")
    min_overlap: float = Field(0.5, gt=0, le=1, description="share of a window that the other shows, too")
    temperature: float = Field(0.1, gt=0, description="contrastive")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of patches hidden from the encoder (mae)")
    normalised_target: bool = Field(False, description="patches to predict have mean 0 and s.d. 1 each (mae)")
    train: TrainConfig = TrainConfig()
    half: bool = Field(True, description="store kernels as float16")
    out: Path | None = Field(None, description="experiment folder; a checkpoint in it is resumed")

    @model_validator(mode="after")
    def _method_fits(self) -> PretrainConfig:
        dense = self.method == "dense_simsiam"
        kinds = NETWORKS[self.method]
        if self.network.kind not in kinds or dense != isinstance(self.data, SceneConfig):
            data = "scenes" if dense else "subtomograms"
            raise ValueError(f"method {self.method} needs network.kind {' or '.join(kinds)} and data.kind {data}")
        if self.method == "mae" and isinstance(self.network, MaskedAutoencoderConfig):
            if self.network.decoder is None:
                raise ValueError("method mae reconstructs patches: network.decoder must be given")
            if self.network.projector:
                raise ValueError("method mae trains no projector: network.projector must be false")
        if self.input.scale != "zscore":
            raise ValueError("trainings draw views of mean 0 and s.d. 1: input.scale must be zscore")
        if self.data.voxel_size != self.input.voxel_size:
            raise ValueError(
                f"data.voxel_size {self.data.voxel_size} differs from input.voxel_size {self.input.voxel_size}"
            )
        if isinstance(self.data, SceneConfig) and self.window_vox > self.data.crop_vox:
            raise ValueError(f"window_vox {self.window_vox} is larger than data.crop_vox {self.data.crop_vox}")
        if (
            isinstance(self.data, SubtomogramConfig)
            and isinstance(self.network, SubtomogramEncoderConfig)
            and self.data.box_vox != self.network.box_vox
        ):
            raise ValueError(f"data.box_vox {self.data.box_vox} differs from network.box_vox {self.network.box_vox}")
        if not dense and (self.dataset is not None or self.stream is not None):
            raise ValueError(
                "dataset and stream serve dense_simsiam; other methods draw subtomograms of structures and phantoms "
                "(data.refresh_every makes those endless)"
            )
        if isinstance(self.data, SceneConfig):
            check_stream(self.data, self.stream, self.dataset)
        return self


def pretrain(config: PretrainConfig) -> str:
    """Train by the chosen method and write ``weights.safetensors``; a checkpoint in the folder is resumed.

    Raises
    ------
    InputError
        If no output folder is given, data cannot be read, or a checkpoint of other settings lies in the folder.
    """
    if config.out is None:
        raise InputError("pretrain: give an experiment folder with --out")
    torch.manual_seed(config.train.seed)
    network = build(config.network)
    start = ""
    if config.weights is not None:
        first = load_weights(config.weights)
        start_from(network, first.module)
        start = f", from {first.card.name} ({first.model_hash})"
    with _drawing(config) as draw:
        result = run_training(_objective(network, config), draw, config, config.train, config.out)
    card = ModelCard(
        name=config.name,
        network=config.network,
        input=config.input,
        description=f"{config.method}, seed {config.train.seed}{start}",
        training_data=training_summary(config.data, config.dataset, config.stream),
        recipe="pretrain",
    )
    return finish(result, network, config, config.train, config.out, card, half=config.half)


def _objective(network: torch.nn.Module, config: PretrainConfig) -> torch.nn.Module:
    if isinstance(network, VoxelNetwork):
        return DenseSimSiam(network)
    if config.method == "mae":
        assert isinstance(network, MaskedAutoencoder)  # checked by the config, as below
        return Reconstruction(network, normalised_target=config.normalised_target)
    if config.method == "simsiam":
        assert isinstance(network, SubtomogramNetwork)
        return SimSiam(network)
    assert isinstance(network, SubtomogramEncoder)
    return Contrastive(network, temperature=config.temperature)


@contextmanager
def _drawing(config: PretrainConfig) -> Iterator[Draw]:
    """Yield what draws batches, and end the processes that make data ahead."""
    data = config.data
    if isinstance(data, SceneConfig):
        assert isinstance(config.network, VoxelNetworkConfig)  # checked by the config
        stride = total_stride(config.network)
        with scene_source(
            data,
            dataset=config.dataset,
            stream=config.stream,
            structures=config.structures,
            inputs=config.input,
            composers=config.train.composers,
            held_back=config.held_back,
        ) as scenes:
            yield lambda generator, number: draw_view_pairs(
                scenes.at(number),
                data,
                config.augment,
                generator,
                batch=config.batch,
                window_vox=config.window_vox,
                min_overlap=config.min_overlap,
                stride=stride,
            )
        return
    with _boxes(data, config) as pool:
        if config.method == "simsiam":
            yield lambda generator, number: draw_box_pairs(
                pool.at(number), data, config.augment, generator, batch=config.batch
            )
        elif isinstance(config.network, MaskedAutoencoderConfig) and config.method == "mae":
            patches = config.network.patches
            yield lambda generator, number: draw_masked(
                pool.at(number), data, generator, batch=config.batch, patches=patches, mask_ratio=config.mask_ratio
            )
        else:
            yield lambda generator, number: draw_classes(
                pool.at(number), data, generator, classes=config.batch, views=config.views
            )


def _boxes(data: SubtomogramConfig, config: PretrainConfig) -> Fixed[SubtomogramPool] | RollingPool:
    fine, resolution = data.voxel_size / OVERSAMPLING, RESOLUTION_PER_VOXEL * data.voxel_size
    structures = load_structures(config.structures, fine, resolution=resolution)
    if data.refresh_every:
        return RollingPool(data, structures, processes=config.train.composers)
    return Fixed(build_pool(data, structures))
