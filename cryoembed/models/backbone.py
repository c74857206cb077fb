"""The 3D ResNet of basic blocks every network here starts with (thesis, section 4.1: ResNet-10, no max-pooling)."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryoembed.models.config import BackboneConfig
from cryoembed.models.recompute import recomputed

SMALL_SIDE = 4  # at and below it bf16 3^3 convolutions gave non-finite gradients: such stages run in float32


def conv_norm(channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Return convolution ("same" padding, no bias) and batch normalisation; adjacent, so that they can be folded."""
    convolution = nn.Conv3d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out))


class StemConv(nn.Conv3d):
    """Convolution of the one input channel; on CPUs in float32 whatever the format of the rest, and then cast to it.

    A single channel fills no bf16 matrix tile: oneDNN takes 2.6 times as long for it in bf16 as in float32.
    """

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c p q r"]:
        """Return what ``Conv3d`` does, in the format that it would have."""
        wanted = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or wanted == torch.float32:
            return super().forward(x)
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast("cpu", enabled=False):
            exact = cast(Tensor, self._conv_forward(x.float(), self.weight.float(), bias))
        return exact.to(wanted)


class BasicBlock(nn.Module):
    """Two 3^3 convolutions and a shortcut; the shortcut is a strided 1^1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *conv_norm(channels_in, channels_out, 3, stride=stride),
            nn.ReLU(inplace=True),
            *conv_norm(channels_out, channels_out, 3),
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv_norm(channels_in, channels_out, 1, stride=stride)

    def forward(self, x: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b d p q r"]:
        """Return ``relu(inner(x) + shortcut(x))``."""
        return torch.relu_(self.inner(x) + self.shortcut(x))


class Backbone(nn.Module):
    """Stem and stages; stage i has ``width * 2**i`` channels at stride ``stem_stride * 2**i``."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.recompute = False  # trade time for memory in trainings: each stage runs again in the backward pass
        kernel, stride = config.stem_kernel, config.stem_stride
        stem = StemConv(1, config.width, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(config.width), nn.ReLU(inplace=True))
        inputs = (config.width, *config.channels[:-1])
        self.stages = nn.ModuleList(
            _stage(channels_in, channels_out, blocks=blocks, stride=1 if index == 0 else 2)
            for index, (channels_in, channels_out, blocks) in enumerate(
                zip(inputs, config.channels, config.blocks, strict=True)
            )
        )
        initialise(self)

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> list[Float[Tensor, "b _ _ _ _"]]:
        """Return the output of every stage, fine to coarse."""
        maps = []
        recompute = self.recompute and torch.is_grad_enabled()
        x = recomputed(self.stem, x, self.stem) if recompute else self.stem(x)
        for index, stage in enumerate(self.stages):
            run = partial(_run_stage, stage, side=min(x.shape[2:]) // (1 if index == 0 else 2))
            x = recomputed(run, x, stage) if recompute else run(x)
            maps.append(x)
        return maps


def global_average(x: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b c"]:
    """Return the mean over space in float32, whatever the precision of the map."""
    return x.float().mean(dim=(2, 3, 4))


def initialise(module: nn.Module) -> None:
    """He-initialise the convolutions of ``module`` (fan out, ReLU), as ResNets are."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _stage(channels_in: int, channels_out: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels_out, stride=stride)
    return nn.Sequential(first, *(BasicBlock(channels_out, channels_out) for _ in range(blocks - 1)))


def _run_stage(stage: nn.Module, x: Tensor, *, side: int) -> Tensor:
    if side > SMALL_SIDE or not torch.is_autocast_enabled(x.device.type):
        return cast(Tensor, stage(x))
    with torch.autocast(x.device.type, enabled=False):
        return cast(Tensor, stage(x.float()))
