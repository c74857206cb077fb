"""A vision transformer on cubic patches and its masked autoencoder (He et al. 2022; 3D-MAE in SaSi, section 4.2).

SaSi gives the parameter count of its scaled-down VideoMAE and no other size (see `MaskedAutoencoderConfig`). Chosen
here after He et al. 2022, section 3: the encoder sees visible patches only, fixed sine-cosine positions enter encoder
and decoder, one learned token stands for every masked patch, the decoder is narrow and shallow and predicts voxels.
Left out: a class token (the mean token is the vector) and dropout.
"""

from __future__ import annotations

from typing import cast

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cryoembed.models.config import MaskedAutoencoderConfig, VitConfig
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.models.projector import vector_projector
from cryoembed.models.simsiam import standardised

LONGEST_WAVE = 10_000.0  # of the positions, in patches (Vaswani et al. 2017, section 3.5)


class PatchTransformer(nn.Module):
    """Patches to tokens: a linear embedding, positions, transformer blocks, a last normalisation."""

    positions: Tensor

    def __init__(self, config: VitConfig, *, patch_vox: int, side: int) -> None:
        super().__init__()
        self.patch_vox = patch_vox
        self.embedding = nn.Linear(patch_vox**3, config.width)
        self.register_buffer("positions", sine_positions(side, config.width), persistent=False)
        self.blocks = transformer(config)
        initialise_linear(self)

    def forward(
        self, x: Float[Tensor, "b 1 z y x"], visible: Int64[Tensor, "b kept"] | None = None
    ) -> Float[Tensor, "b _ width"]:
        """Return one token per patch, in order; with ``visible``, only of those patches and from those alone."""
        patches, positions = patchify(x, self.patch_vox), self.positions
        if visible is not None:
            patches = patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[2]))
            positions = positions[visible]
        return cast(Tensor, self.blocks(self.embedding(patches) + positions))


class PatchDecoder(nn.Module):
    """Tokens of visible patches to the voxels of all (He et al. 2022, section 3, "MAE decoder")."""

    positions: Tensor

    def __init__(self, config: VitConfig, *, width_in: int, patch_vox: int, side: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(width_in, config.width)
        self.mask_token = nn.Parameter(torch.empty(config.width))
        self.register_buffer("positions", sine_positions(side, config.width), persistent=False)
        self.blocks = transformer(config)
        self.voxels = nn.Linear(config.width, patch_vox**3)
        initialise_linear(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "b kept c"], visible: Int64[Tensor, "b kept"]
    ) -> Float[Tensor, "b patches voxels"]:
        """Return predicted patches, visible ones included."""
        shown = self.embedding(tokens)
        whole = repeat(self.mask_token.to(shown.dtype), "w -> b n w", b=len(tokens), n=len(self.positions))
        whole = whole.scatter(1, visible[..., None].expand_as(shown), shown)
        return cast(Tensor, self.voxels(self.blocks(whole + self.positions)))


class MaskedAutoencoder(SubtomogramEncoder):
    """The transformer as an encoder of boxes (mean token, projector where there is one), its decoder for pretraining."""

    config: MaskedAutoencoderConfig
    backbone: PatchTransformer

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        side, width = config.box_vox // config.patch_vox, config.encoder.width
        self.backbone = PatchTransformer(config.encoder, patch_vox=config.patch_vox, side=side)
        self.projector = vector_projector(width, config.embedding_dim) if config.projector else nn.Identity()
        self.decoder = (
            None
            if config.decoder is None
            else PatchDecoder(config.decoder, width_in=width, patch_vox=config.patch_vox, side=side)
        )

    def forward(
        self, x: Float[Tensor, "b 1 z y x"], visible: Int64[Tensor, "b kept"]
    ) -> Float[Tensor, "b patches voxels"]:
        """Predict every patch of standardised boxes from the visible ones alone.

        Raises
        ------
        ValueError
            If the network was built without a decoder.
        """
        if self.decoder is None:
            raise ValueError("this network has no decoder: set network.decoder to reconstruct patches")
        return cast(Tensor, self.decoder(self.backbone(standardised(x), visible), visible))

    def target(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b patches voxels"]:
        """Return the patches that `forward` is to predict."""
        return patchify(standardised(x), self.config.patch_vox)

    def pool(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c"]:
        """Return the mean token of boxes, all patches visible, in float32."""
        return cast(Tensor, self.backbone(standardised(x)).float().mean(dim=1))


def patchify(x: Float[Tensor, "b 1 z y x"], patch_vox: int) -> Float[Tensor, "b patches voxels"]:
    """Cut boxes into cubic patches; patches and the voxels in them count along x fastest."""
    p = patch_vox
    patches: Tensor = rearrange(x, "b 1 (z pz) (y py) (x px) -> b (z y x) (pz py px)", pz=p, py=p, px=p)
    return patches


def sine_positions(side: int, width: int) -> Float[Tensor, "patches width"]:
    """Return fixed positions of ``side**3`` patches: a third of the channels each for z, y and x.

    In each third the first half are sines, the second cosines, of wavelengths from 2 pi to 2 pi * 10,000 patches
    (Vaswani et al. 2017, section 3.5, as He et al. 2022 use it in two dimensions). They depend on the sizes alone and
    are no weights: made on the CPU whatever torch's default device, so that they exist where weights are laid over a
    network without storage.
    """
    waves = width // 6
    rates = LONGEST_WAVE ** (-torch.arange(waves, device="cpu", dtype=torch.float64) / waves)
    steps = torch.arange(side, device="cpu", dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    angles = rearrange(grid, "z y x d -> (z y x) d 1") * rates
    positions: Tensor = rearrange(torch.cat([angles.sin(), angles.cos()], dim=-1), "n d w -> n (d w)")
    return positions.float()


def transformer(config: VitConfig) -> nn.TransformerEncoder:
    """Return ``depth`` pre-norm blocks without dropout and a last normalisation."""
    block = nn.TransformerEncoderLayer(
        config.width,
        config.heads,
        config.mlp_ratio * config.width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(block, config.depth, norm=nn.LayerNorm(config.width), enable_nested_tensor=False)


def initialise_linear(module: nn.Module) -> None:
    """Xavier-initialise every matrix of ``module`` (He et al. 2022, appendix A.1): torch's blocks start as copies."""
    for parameter in module.parameters():
        if parameter.ndim == 2:
            nn.init.xavier_uniform_(parameter)
