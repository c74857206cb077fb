"""train: teach the voxel network's heads to denoise, to name and to find, on scenes whose truth is known."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.models.build import build
from cryoembed.models.checkpoint import find_weights, load_weights, start_from
from cryoembed.models.config import Head, ModelCard, VoxelNetworkConfig
from cryoembed.models.dense_simsiam import VoxelNetwork
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.training_data import (
    Stream,
    check_input,
    check_stream,
    check_truth,
    scene_source,
    training_files,
    training_summary,
)
from cryoembed.recipes.training_run import finish, run_training
from cryoembed.simulate.density.structure_spec import StructureSpec
from cryoembed.training.config import TrainConfig
from cryoembed.training.objectives.heads import Frozen, Heads, SemanticConfig
from cryoembed.training.schedule import ONE_CYCLE_START_FRACTION
from cryoembed.views.dense import draw_targets
from cryoembed.views.scenes import SceneConfig

logger = logging.getLogger(__name__)


class TrainRecipeConfig(Config):
    """Settings of `train`."""

    name: str = Field("trained", description="what the model card calls the network")
    tasks: tuple[Head, ...] = ("denoise", "instance")
    network: VoxelNetworkConfig
    input: InputConfig = InputConfig()
    weights: str | None = Field(None, description="bundled name or .safetensors file to start from")
    frozen: Frozen = Field("none", description="encoder | all_but_heads: what keeps its weights; needs weights")
    semantic: SemanticConfig = Field(SemanticConfig(), description="the semantic head's loss")
    data: SceneConfig = SceneConfig()
    dataset: Path | None = Field(None, description="folder of model_N in SHREC's layout, instead of new scenes")
    held_back: bool = Field(False, description="let dataset show species of the validation and test splits")
    stream: Stream = Field(None, description="settings of simulate (or their file): endless samples, no disk")
    structures: tuple[StructureSpec, ...] = Field((), description="maps or models that join the phantoms")
    batch: int = Field(4, ge=1, description="crops")
    train: TrainConfig = TrainConfig()
    half: bool = Field(True, description="store kernels as float16")
    out: Path | None = Field(None, description="experiment folder; a checkpoint in it is resumed")

    @model_validator(mode="after")
    def _consistent(self) -> TrainRecipeConfig:
        missing = [task for task in self.tasks if task not in self.network.heads]
        if missing or not self.tasks:
            raise ValueError(f"tasks {self.tasks} need network.heads to hold them; it has {self.network.heads}")
        untrained = [head for head in self.network.heads if head not in self.tasks]
        if untrained and (self.weights is None or self.frozen != "all_but_heads"):
            raise ValueError(
                f"network.heads {', '.join(untrained)} would be given away untrained: leave them out, put them among the "
                "tasks, or take them from weights with frozen: all_but_heads"
            )
        check_input(self.input, self.data)
        check_stream(self.data, self.stream, self.dataset)
        if self.frozen != "none" and self.weights is None:
            raise ValueError(f"frozen: {self.frozen} keeps the encoder as it is: give pretrained weights")
        return self


def train(config: TrainRecipeConfig) -> str:
    """Train the heads (and the encoder, unless frozen) together; write ``weights.safetensors``.

    Raises
    ------
    InputError
        If no output folder is given, data or weights cannot be read, or a checkpoint of other settings lies there.
    """
    if config.out is None:
        raise InputError("train: give an experiment folder with --out")
    torch.manual_seed(config.train.seed)
    network = build(config.network)
    if config.weights is not None:
        _start(network, config)
    objective = Heads(
        network, config.tasks, frozen=config.frozen, semantic=config.semantic, quiet=_quiet_batches(config.train)
    )
    with scene_source(
        config.data,
        dataset=config.dataset,
        stream=config.stream,
        structures=config.structures,
        inputs=config.input,
        composers=config.train.composers,
        held_back=config.held_back,
    ) as scenes:
        check_truth(scenes.at(0), config.tasks)
        result = run_training(
            objective,
            lambda generator, number: draw_targets(scenes.at(number), config.data, generator, batch=config.batch),
            config,
            config.train,
            config.out,
        )
    card = ModelCard(
        name=config.name,
        network=config.network,
        input=config.input,
        description=f"heads {', '.join(config.tasks)}, seed {config.train.seed}",
        training_data=training_summary(config.data, config.dataset, config.stream, config.structures),
        recipe="train",
    )
    inputs = training_files(dataset=config.dataset, stream=config.stream, structures=config.structures)
    if config.weights is not None:
        inputs.append(find_weights(config.weights))
    return finish(result, network, config, config.train, config.out, card, half=config.half, inputs=inputs)


def _start(network: VoxelNetwork, config: TrainRecipeConfig) -> None:
    """Copy the weights to start from; what stays frozen, or is not trained, must come from them."""
    assert config.weights is not None
    loaded = load_weights(find_weights(config.weights))
    if (seen := loaded.card.input) != config.input:
        what = f"{config.weights} ({loaded.card.name}) read another input: {seen} there, {config.input} here"
        if config.frozen != "none":
            raise InputError(f"{what}; what is frozen cannot learn to read this one: copy input, or leave out frozen")
        logger.warning("%s", what)
    new = start_from(network, loaded.module)
    kept = ["backbone."] * (config.frozen != "none") + ["pyramid."] * (config.frozen == "all_but_heads")
    kept += [f"heads.{head}." for head in config.network.heads if head not in config.tasks]
    lacking = [name for name in new if name.startswith(tuple(kept))]
    if lacking:
        raise InputError(
            f"{config.weights} have no {lacking[0].rpartition('.')[0]}, which this training leaves as it is"
        )
    logger.info(
        "from %s; new: %s", config.weights, ", ".join(sorted({".".join(n.split(".")[:2]) for n in new})) or "none"
    )


def _quiet_batches(train: TrainConfig) -> int:
    """Batches of the warm-up."""
    return (train.warmup_steps or round(ONE_CYCLE_START_FRACTION * train.steps)) * train.accumulate
