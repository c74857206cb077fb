"""Settings of pretrain, and which of them go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.models.config import (
    MaskedAutoencoderConfig,
    NetworkConfig,
    SubtomogramEncoderConfig,
    VoxelNetworkConfig,
)
from cryoembed.models.receptive import total_stride
from cryoembed.preprocess.config import InputConfig
from cryoembed.recipes.training_data import Stream, check_input, check_stream
from cryoembed.simulate.density.structure_spec import StructureSpec
from cryoembed.training.config import TrainConfig
from cryoembed.views.augment import AugmentConfig
from cryoembed.views.imaging import Share
from cryoembed.views.masks import MaskShares
from cryoembed.views.pool import SubtomogramConfig
from cryoembed.views.real import RealConfig
from cryoembed.views.scenes import SceneConfig
from cryoembed.views.warp import WarpConfig

Data = Annotated[SceneConfig | SubtomogramConfig, Field(discriminator="kind")]
Method = Literal["dense_simsiam", "simsiam", "simclr", "contrastive", "refine", "mae"]
PAIRS: tuple[Method, ...] = ("dense_simsiam", "simsiam", "simclr")  # compare two views of one thing
NETWORKS: dict[Method, tuple[str, ...]] = {  # network kinds that each method trains
    "dense_simsiam": ("dense_simsiam",),
    "simsiam": ("simsiam",),
    "simclr": ("simsiam", "vit"),
    "contrastive": ("simsiam", "vit"),
    "refine": ("simsiam", "vit"),
    "mae": ("vit",),
}


class PretrainConfig(Config):
    """Settings of `pretrain`."""

    name: str = Field("pretrained", description="what the model card calls the network")
    method: Method
    network: NetworkConfig
    input: InputConfig = InputConfig()
    weights: str | None = Field(None, description="file or bundled name to start from; refine needs it")
    data: Data
    dataset: Path | None = Field(None, description="folder of model_N in SHREC's layout, instead of new scenes")
    held_back: bool = Field(False, description="let dataset show species of the validation and test splits")
    stream: Stream = Field(None, description="settings of simulate (or their file): endless samples, no disk")
    structures: tuple[StructureSpec, ...] = Field((), description="maps or models that join the phantoms")
    structure_folder: Path = Field(Path(), description="where relative paths of structures start")
    real: RealConfig | None = Field(None, description="unlabelled tomograms that take part")
    augment: AugmentConfig = AugmentConfig()
    share: Share = Field("nothing", description="what two views have in common: nothing | microscope | image")
    warp: WarpConfig = Field(WarpConfig(), description="between two views of a crop (dense_simsiam)")
    batch: int = Field(
        4, ge=2, description="crops (dense_simsiam), particles (simsiam, simclr, refine, mae), classes (contrastive)"
    )
    views: int = Field(4, ge=2, description="boxes per class (contrastive)")
    window_vox: int = Field(48, ge=8, description="edge of the two windows in a crop (dense_simsiam)")
    min_overlap: float = Field(0.5, gt=0, le=1, description="share of a window that the other shows, too")
    temperature: float = Field(0.1, gt=0, description="contrastive, simclr, and real boxes")
    proxies: bool = Field(False, description="a learnt vector per class beside the pairs of a batch (contrastive)")
    shape_dims: int = Field(
        0, ge=0, description="numbers per class that say what its clean density is like, learnt beside (contrastive)"
    )
    shape_weight: float = Field(5.0, gt=0, description="of their squared error, 1 each at the start")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of patches hidden from the encoder (mae)")
    normalised_target: bool = Field(False, description="patches to predict have mean 0 and s.d. 1 each (mae)")
    margin: float = Field(1.0, gt=0, lt=2, description="distance of other classes on the unit sphere (refine)")
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
            if self.real is not None:
                raise ValueError("method mae takes no real tomograms yet: leave out real")
        if self.method == "refine" and self.weights is None:
            raise ValueError("refine starts from a pretraining: give its weights, as made by method simsiam")
        if self.share != "nothing" and self.method not in PAIRS:
            raise ValueError(f"share serves {', '.join(PAIRS)}; {self.method} compares boxes of a class")
        return self

    @model_validator(mode="after")
    def _data_fits(self) -> PretrainConfig:
        check_input(self.input, self.data)
        if isinstance(self.data, SceneConfig):
            self._check_windows(self.data)
            check_stream(self.data, self.stream, self.dataset)
        else:
            self._check_boxes(self.data)
        return self

    def _check_windows(self, data: SceneConfig) -> None:
        assert isinstance(self.network, VoxelNetworkConfig)  # checked before
        if self.window_vox > data.crop_vox:
            raise ValueError(f"window_vox {self.window_vox} is larger than data.crop_vox {data.crop_vox}")
        if self.augment.crop_probability or (self.real is not None and self.real.augment.crop_probability):
            raise ValueError("crop_probability serves boxes; windows of dense_simsiam are crops already")
        if not self.warp.active:
            return
        if self.share == "image":
            raise ValueError("one image for both views cannot be warped before its microscope: leave out share or warp")
        if self.dataset is not None:
            raise ValueError("the recordings of a data set cannot be warped: leave out warp or dataset")
        stride = total_stride(self.network)
        if data.crop_vox % stride or self.window_vox % stride:
            raise ValueError(
                f"warp needs data.crop_vox {data.crop_vox} and window_vox {self.window_vox} to be multiples of the "
                f"network's stride {stride}"
            )

    def _check_boxes(self, data: SubtomogramConfig) -> None:
        assert isinstance(self.network, SubtomogramEncoderConfig)  # checked before
        if data.box_vox != self.network.box_vox:
            raise ValueError(f"data.box_vox {data.box_vox} differs from network.box_vox {self.network.box_vox}")
        if self.method not in PAIRS and self.augment != AugmentConfig():
            raise ValueError(
                f"augment changes views of one thing ({', '.join(PAIRS)}); {self.method} draws boxes that differ in "
                "data.imaging: set that, or real.augment for real boxes"
            )
        if data.structure_share is not None and (self.method != "contrastive" or not self.structures):
            raise ValueError(
                "data.structure_share serves contrastive with structures; give structures, or leave it out"
            )
        if self.method in ("contrastive", "simclr") and self.batch > data.phantoms + len(self.structures):
            raise ValueError(f"batch {self.batch} asks for more classes than there are; raise data.phantoms")
        if self.shape_dims and (self.method != "contrastive" or data.refresh_every or self.shape_dims > data.phantoms):
            raise ValueError(
                "shape_dims serves contrastive, whose classes stay, and is at most the number of phantoms: leave it out, "
                "or data.refresh_every"
            )
        if self.proxies and (self.method != "contrastive" or data.refresh_every):
            raise ValueError("proxies serve contrastive, whose classes stay: leave out proxies or data.refresh_every")
        mask = self.network.mask
        if mask != "none" and not getattr(data.mask_shares, mask):
            raise ValueError(f"network.mask {mask} is never trained: give data.mask_shares.{mask} a share")
        if self.real is not None and data.mask_shares != MaskShares():
            raise ValueError("real boxes have no masks and would stand apart from masked ones: leave out real or masks")
        if self.warp.active:
            raise ValueError("warp serves dense_simsiam; boxes have an orientation and a shift of their own each")
        if self.dataset is not None or self.stream is not None:
            raise ValueError(
                "dataset and stream serve dense_simsiam; other methods draw subtomograms of structures and phantoms "
                "(data.refresh_every makes those endless)"
            )
