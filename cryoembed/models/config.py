"""The shapes of the networks (torch-free: a YAML is checked without torch) and the card that travels with weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.preprocess.config import InputConfig

SCHEMA_VERSION = 1

Head = Literal["denoise", "instance", "semantic", "lamella"]


class BackboneConfig(Config):
    """3D ResNet of basic blocks; the defaults are the thesis' ResNet-10 (CryoSiam, sections 3.1 and 4.1)."""

    width: int = Field(64, ge=4, description="channels of the first stage; doubled at each further stage")
    blocks: tuple[int, ...] = (1, 1, 1, 1)  # per stage; stage i runs at stride stem_stride * 2**i
    stem_kernel: Literal[3, 5, 7] = 7
    stem_stride: Literal[1, 2] = 1

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.blocks)))

    @property
    def strides(self) -> tuple[int, ...]:
        """Voxels per output voxel of each stage."""
        return tuple(self.stem_stride * 2**stage for stage in range(len(self.blocks)))


class VoxelNetworkConfig(Config):
    """DenseSimSiam and its heads: backbone, feature pyramid, projectors (thesis, section 4.1: FPN 128, 256-d, 64-d)."""

    kind: Literal["dense_simsiam"] = "dense_simsiam"
    backbone: BackboneConfig = BackboneConfig()
    pyramid_channels: int = Field(128, ge=4)
    global_dim: int = Field(256, ge=4)
    voxel_dim: int = Field(64, ge=4)
    level_losses: tuple[int, ...] = (2,)  # pyramid strides whose embeddings enter the loss (equation 5)
    heads: tuple[Head, ...] = ()
    head_channels: int = Field(64, ge=4)

    @model_validator(mode="after")
    def _known_levels(self) -> VoxelNetworkConfig:
        unknown = set(self.level_losses) - set(self.backbone.strides)
        if unknown:
            raise ValueError(f"level_losses {sorted(unknown)} are no strides of the pyramid {self.backbone.strides}")
        return self


class SubtomogramNetworkConfig(Config):
    """SimSiam on subtomograms: a backbone, global pooling, a projector; one L2-normalised vector per box."""

    kind: Literal["simsiam"] = "simsiam"
    backbone: BackboneConfig = BackboneConfig(width=64, stem_stride=2)
    embedding_dim: int = Field(256, ge=4)
    box_vox: int = Field(64, ge=8, description="cubic box in voxels of the model's voxel size")
    mask: Literal["none", "hull", "strict"] = "none"


NetworkConfig = Annotated[VoxelNetworkConfig | SubtomogramNetworkConfig, Field(discriminator="kind")]


class ModelCard(Config):
    """What a weights file says of itself; written as JSON into the safetensors header."""

    schema_version: Literal[1] = 1
    name: str
    network: NetworkConfig
    input: InputConfig = InputConfig()
    description: str = ""
    training_data: str = ""
    recipe: str = ""
    steps: int = 0
    seed: int = 0
    metrics: dict[str, float] = {}
    licence: str = "MIT"
    extra: dict[str, Any] = {}
