"""DenseSimSiam: backbone, pyramid, projectors and heads; a vector and other outputs for every voxel (thesis, 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.errors import InputError
from cryoembed.models.backbone import Backbone, global_average
from cryoembed.models.config import Head, VoxelNetworkConfig
from cryoembed.models.heads import HEAD_OUTPUTS, HeadNetwork, activated, head_of, split_outputs
from cryoembed.models.projector import (
    Projection,
    dense_predictor,
    dense_projector,
    vector_predictor,
    vector_projector,
)
from cryoembed.models.pyramid import Pyramid, upsample
from cryoembed.models.receptive import total_stride


class ViewEmbeddings(NamedTuple):
    """All embeddings of a batch of views, as the losses of equations 2, 4 and 5 take them (not normalised)."""

    whole: Projection | None  # (b, global_dim): Z and P; None where global_dim is 0
    dense: Projection  # (b, voxel_dim, z, y, x) at full resolution: z and p
    levels: dict[int, Projection]  # pyramid stride -> (b, voxel_dim, z/stride, y/stride, x/stride): l and L


class VoxelNetwork(nn.Module):
    """Voxel embeddings and heads for volumes of any size.

    Volumes are reflected at their far ends up to a multiple of the total stride and outputs cropped back, so a tile
    that starts at a multiple of the total stride and carries the halo of `receptive.receptive_field_halo` gives
    what the whole volume gives.
    """

    def __init__(self, config: VoxelNetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, dim = config.pyramid_channels, config.voxel_dim
        self.backbone = Backbone(config.backbone)
        self.pyramid = Pyramid(config.backbone.channels, width)
        if config.global_dim:
            self.global_projector = vector_projector(config.backbone.channels[-1], config.global_dim)
            self.global_predictor = vector_predictor(config.global_dim)
        self.voxel_projector = dense_projector(width, dim)
        self.voxel_predictor = dense_predictor(dim)
        strides = [str(stride) for stride in config.level_losses]
        self.level_projectors = nn.ModuleDict({stride: dense_projector(width, dim) for stride in strides})
        self.level_predictors = nn.ModuleDict({stride: dense_predictor(dim) for stride in strides})
        self.heads = nn.ModuleDict({head: HeadNetwork(head, width, config.head_channels) for head in config.heads})

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> ViewEmbeddings:
        """Embed views for self-supervision; level maps of sizes that are no multiple of the stride are padded ones."""
        stages = self.backbone(self._padded(x))
        maps = self.pyramid(stages)
        whole = self._whole(stages) if self.config.global_dim else None
        voxels = self.voxel_projector(maps[0])
        levels = {}
        for stride in self.config.level_losses:
            level = self.level_projectors[str(stride)](maps[self.config.backbone.strides.index(stride)])
            levels[stride] = Projection(level, self.level_predictors[str(stride)](level))
        return ViewEmbeddings(
            whole=None if whole is None else Projection(whole, self.global_predictor(whole)),
            dense=Projection(self._full_size(voxels, x), self._full_size(self.voxel_predictor(voxels), x)),
            levels=levels,
        )

    def features(self, x: Float[Tensor, "b 1 z y x"]) -> list[Float[Tensor, "b c _ _ _"]]:
        """Return the pyramid maps of the padded input, fine to coarse, one per stride of the backbone."""
        return cast(list[Tensor], self.pyramid(self.backbone(self._padded(x))))

    def embed(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d z y x"]:
        """Return the L2-normalised voxel embeddings at full resolution."""
        return self._embedding(self.features(x)[0], x)

    def embed_globally(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d"]:
        """Return one L2-normalised vector per view; `InputError` if the network has no global embedding."""
        if not self.config.global_dim:
            raise InputError("this network has no global embedding (network.global_dim is 0); choose other weights")
        return F.normalize(self._whole(self.backbone(self._padded(x))).float(), dim=1)

    def forward_heads(
        self, x: Float[Tensor, "b 1 z y x"], heads: Sequence[Head] | None = None
    ) -> dict[str, Float[Tensor, "b _ z y x"]]:
        """Return the raw outputs of the heads (all of the network's, unless named): masks and classes as logits.

        Raises
        ------
        InputError
            If the network has no such head.
        """
        chosen = self.config.heads if heads is None else heads
        self._check(chosen)
        finest = self.features(x)[0]
        return {name: output for head in chosen for name, output in self._head(head, finest, x).items()}

    def predict(
        self, x: Float[Tensor, "b 1 z y x"], outputs: Sequence[str] | None = None
    ) -> dict[str, Float[Tensor, "b _ z y x"]]:
        """Return the named outputs (all that the heads give, unless named) from one pass through the backbone.

        Parameters
        ----------
        x
            Volumes, normalised as the model card says.
        outputs
            Any of ``denoise distance boundary foreground semantic semantic_distance lamella embedding``; boundary,
            foreground and lamella come as probabilities, semantic as one per class of `SEMANTIC_CLASSES`.

        Raises
        ------
        InputError
            If an output is unknown or its head is not part of the network.
        """
        available = self.available_outputs
        outputs = available[:-1] if outputs is None else outputs
        unknown = [name for name in outputs if name not in available]
        if unknown:
            raise InputError(
                f"this network gives {', '.join(available)}, not {', '.join(unknown)}; choose other weights"
            )
        finest = self.features(x)[0]
        heads = dict.fromkeys(head_of(name) for name in outputs if name != "embedding")
        raw = {name: output for head in heads for name, output in self._head(head, finest, x).items()}
        given = {name: activated(name, raw[name]) for name in outputs if name in raw}
        if "embedding" in outputs:
            given["embedding"] = self._embedding(finest, x)
        return {name: given[name] for name in outputs}

    @property
    def available_outputs(self) -> tuple[str, ...]:
        """Names that `predict` accepts."""
        return (*(name for head in self.config.heads for name in HEAD_OUTPUTS[head]), "embedding")

    def _whole(self, stages: Sequence[Tensor]) -> Tensor:
        pooled = global_average(stages[-1]).to(next(self.global_projector.parameters()).dtype)
        return cast(Tensor, self.global_projector(pooled))

    def _embedding(self, finest: Tensor, x: Tensor) -> Tensor:
        return F.normalize(self._full_size(self.voxel_projector(finest), x).float(), dim=1)

    def _head(self, head: Head, finest: Tensor, x: Tensor) -> dict[str, Tensor]:
        return split_outputs(head, self._full_size(self.heads[head](finest), x))

    def _check(self, heads: Sequence[str]) -> None:
        missing = [head for head in heads if head not in self.heads]
        if missing:
            has = ", ".join(self.config.heads) or "none"
            raise InputError(f"this network has no head {', '.join(missing)} (it has: {has}); choose other weights")

    def _padded(self, x: Tensor) -> Tensor:
        stride = total_stride(self.config)
        missing = [-size % stride for size in x.shape[2:]]
        if not any(missing):
            return x
        padding = [amount for far in reversed(missing) for amount in (0, far)]
        # a mirror needs more voxels than it gives; thinner volumes repeat their last plane
        reflects = all(far < size for far, size in zip(missing, x.shape[2:], strict=True))
        return F.pad(x, padding, mode="reflect" if reflects else "replicate")

    def _full_size(self, y: Tensor, x: Tensor) -> Tensor:
        depth, height, width = x.shape[2:]
        return upsample(y, self.config.backbone.stem_stride)[:, :, :depth, :height, :width]
