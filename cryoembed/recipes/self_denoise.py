"""train without truth: a denoiser from the two halves of tomograms (noise2noise), or from tomograms alone (blind_spot).

A YAML of `train` that names a ``method`` is this recipe's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.mrc import read_tomogram
from cryoembed.io.scratch import scratch_folder
from cryoembed.models.build import build
from cryoembed.models.checkpoint import find_weights, load_weights, start_from
from cryoembed.models.config import ModelCard, VoxelNetworkConfig
from cryoembed.preprocess.config import Contrast, InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.halves import prepare_halves, read_halves
from cryoembed.recipes.training_run import finish, run_training
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Draw
from cryoembed.training.objectives.self_denoising import SelfDenoising
from cryoembed.views.halves import SelfDenoiseData, check_crops_fit, draw_halves, draw_hidden


class HalfFiles(Config):
    """Reconstructions of one tomogram from the even and from the odd movie frames, or tilts, of its series.

    Frames are better: tilts of a half are two steps apart, and beyond a spatial frequency of about 1 / (thickness x
    that angle in radians) the two halves have measured different parts of Fourier space and share no signal to be
    learnt (160 A in EMPIAR-10499 00254, `tests.benchmark.denoise`).
    """

    even: Path
    odd: Path


class SelfDenoiseConfig(Config):
    """Settings of `train` with a ``method``."""

    method: Literal["noise2noise", "blind_spot"]
    name: str = Field("denoiser", description="what the model card calls the network")
    halves: tuple[HalfFiles, ...] = Field((), description="noise2noise: one entry per tomogram")
    tomograms: tuple[Path, ...] = Field((), description="blind_spot")
    contrast: Contrast = "auto"
    voxel_size: float | None = Field(None, gt=0, description="A; overrides the headers")
    network: VoxelNetworkConfig
    input: InputConfig = InputConfig()
    weights: str | None = Field(None, description="bundled name or .safetensors file to start from")
    data: SelfDenoiseData = SelfDenoiseData()
    batch: int = Field(4, ge=1, description="crops")
    train: TrainConfig = TrainConfig()
    half: bool = Field(True, description="store kernels as float16")
    out: Path | None = Field(None, description="experiment folder; a checkpoint in it is resumed")

    @model_validator(mode="after")
    def _consistent(self) -> SelfDenoiseConfig:
        needed, other = ("halves", "tomograms") if self.method == "noise2noise" else ("tomograms", "halves")
        if not getattr(self, needed) or getattr(self, other):
            raise ValueError(f"method {self.method} takes {needed}, at least one, and no {other}")
        if self.network.heads != ("denoise",):
            raise ValueError(
                f"network.heads must be [denoise], the only head trained here; it has {self.network.heads}"
            )
        if self.input.scale != "zscore" or self.input.flatten:
            raise ValueError(
                "what is hidden or noise has the mean 0, and users want its spectrum back: input.scale must be zscore, "
                "input.flatten false"
            )
        return self


def self_denoise(config: SelfDenoiseConfig) -> str:
    """Train the denoise head and the encoder on noisy tomograms alone; write ``weights.safetensors``.

    Raises
    ------
    InputError
        If no output folder is given, tomograms cannot be read or used, are smaller than a crop, halves do not belong
        together, or a checkpoint of other settings lies there.
    """
    if config.out is None:
        raise InputError("train: give an experiment folder with --out")
    torch.manual_seed(config.train.seed)
    network = build(config.network)
    if config.weights is not None:
        start_from(network, load_weights(find_weights(config.weights)).module)
    with scratch_folder(config.out) as scratch:
        draw = _source(config, scratch)
        result = run_training(SelfDenoising(network), draw, config, config.train, config.out)
    files = [path for half in config.halves for path in (half.even, half.odd)] + list(config.tomograms)
    card = ModelCard(
        name=config.name,
        network=config.network,
        input=config.input,
        description=f"head denoise, {config.method}, seed {config.train.seed}",
        training_data=f"noisy tomograms, no truth: {', '.join(path.name for path in files)}",
        recipe="train",
    )
    inputs = [*config.tomograms, *(path for pair in config.halves for path in (pair.even, pair.odd))]
    if config.weights is not None:
        inputs.append(find_weights(config.weights))
    return finish(result, network, config, config.train, config.out, card, half=config.half, inputs=inputs)


def _source(config: SelfDenoiseConfig, scratch: Path) -> Draw:
    """Batches of the tomograms, prepared as memory maps in ``scratch``."""
    if config.method == "blind_spot":
        volumes = []
        for index, path in enumerate(config.tomograms):
            tomogram = read_tomogram(path, voxel_size=config.voxel_size)
            prepared = prepare(tomogram, config.input, contrast=config.contrast, scratch=scratch / str(index))
            check_crops_fit(prepared.tomogram.shape, config.data, tomogram.name)
            volumes.append(prepared.tomogram.data)
        return lambda generator, _: draw_hidden(volumes, config.data, generator, batch=config.batch)
    pairs = []
    for index, files in enumerate(config.halves):
        halves = read_halves(files.even, files.odd, voxel_size=config.voxel_size)
        even, odd = prepare_halves(halves, config.input, contrast=config.contrast, scratch=scratch / str(index))
        check_crops_fit(even.tomogram.shape, config.data, even.tomogram.name)
        pairs.append((even.tomogram.data, odd.tomogram.data))
    return lambda generator, _: draw_halves(pairs, config.data, generator, batch=config.batch)
