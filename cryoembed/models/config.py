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
    global_dim: int = Field(256, ge=0, description="0: no global embedding, and none of its loss")
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


class ShellConfig(Config):
    """Spherical-harmonic shells about the box centre: features that no rotation changes (`models.invariants`)."""

    shells: int = Field(14, ge=2)
    degree: int = Field(8, ge=0, description="largest l of the harmonics")
    radius_vox: float | None = Field(None, gt=0, description="of the outermost shell; None: half the box")
    hidden: int = Field(256, ge=4, description="width of the two layers that read the invariants")

    @property
    def features(self) -> int:
        """Number of invariants."""
        return self.shells * (self.shells + 1) // 2 * (self.degree + 1)


class SubtomogramEncoderConfig(Config):
    """What `index` and `query` must know of any network that makes one L2-normalised vector per box."""

    embedding_dim: int = Field(256, ge=4)
    box_vox: int = Field(64, ge=8, description="cubic box in voxels of the model's voxel size")
    mask: Literal["none", "hull", "strict"] = "none"


class SubtomogramNetworkConfig(SubtomogramEncoderConfig):
    """SimSiam on subtomograms: a backbone, global pooling, a projector."""

    kind: Literal["simsiam"] = "simsiam"
    backbone: BackboneConfig | None = Field(BackboneConfig(width=64, stem_stride=2), description="null: shells alone")
    fovea: BackboneConfig | None = Field(None, description="a second backbone, of the middle of the box alone")
    fovea_vox: int = Field(16, ge=8, description="edge of that middle")
    shells: ShellConfig | None = Field(None, description="rotation-invariant features beside the backbone's")

    @model_validator(mode="after")
    def _something_to_pool(self) -> SubtomogramNetworkConfig:
        if self.backbone is None and self.shells is None:
            raise ValueError("a subtomogram network needs a backbone, shells or both")
        if self.fovea is not None and (self.backbone is None or self.fovea_vox > self.box_vox):
            raise ValueError(f"a fovea of {self.fovea_vox} voxels needs a backbone beside it, and a box as large")
        return self

    @property
    def pooled_channels(self) -> int:
        """Numbers per box that the projector reads."""
        convolved = sum(part.channels[-1] for part in (self.backbone, self.fovea) if part)
        return convolved + (self.shells.hidden if self.shells else 0)


class VitConfig(Config):
    """A stack of pre-norm transformer blocks (Dosovitskiy et al. 2021) on tokens of one width."""

    width: int = Field(192, ge=6, multiple_of=6, description="channels of a token: a sine and a cosine per axis")
    depth: int = Field(6, ge=1, description="blocks")
    heads: int = Field(4, ge=1)
    mlp_ratio: int = Field(4, ge=1, description="hidden over token channels in a block's perceptron")

    @model_validator(mode="after")
    def _whole_heads(self) -> VitConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class MaskedAutoencoderConfig(SubtomogramEncoderConfig):
    """Masked autoencoder of a 3D vision transformer: the 3D-MAE that SaSi uses as its second backbone.

    SaSi (section 4.2, table 3) says that it is VideoMAE scaled down to 3,573,772 parameters and that the vector of a
    box of 24 voxels (section 4.3) has 6,912 numbers. It is silent on patch, width, depth, heads, decoder and mask ratio;
    6,912 = 27 x 256 would be patches of 8 voxels and tokens of 256 channels. Here the mean of the tokens is taken
    instead (He et al. 2022 pool globally, too), so that vectors fit a store; the rest follows He et al. 2022.
    """

    kind: Literal["vit"] = "vit"
    patch_vox: int = Field(8, ge=2, description="edge of the cubic patches; divides box_vox")
    encoder: VitConfig = VitConfig()
    decoder: VitConfig | None = Field(
        VitConfig(width=96, depth=2), description="for method mae only; null leaves it out"
    )
    projector: bool = Field(False, description="a trained head on the mean token makes the vectors (contrastive)")
    embedding_dim: int = Field(192, ge=4)

    @model_validator(mode="after")
    def _sizes_fit(self) -> MaskedAutoencoderConfig:
        if self.box_vox % self.patch_vox:
            raise ValueError(f"box_vox {self.box_vox} is not divisible by patch_vox {self.patch_vox}")
        if not self.projector and self.embedding_dim != self.encoder.width:
            raise ValueError(
                f"without a projector the vector is the mean token: embedding_dim {self.embedding_dim} must be "
                f"encoder.width {self.encoder.width}"
            )
        return self

    @property
    def patches(self) -> int:
        """Patches of a box."""
        return int((self.box_vox // self.patch_vox) ** 3)


NetworkConfig = Annotated[
    VoxelNetworkConfig | SubtomogramNetworkConfig | MaskedAutoencoderConfig, Field(discriminator="kind")
]


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
