"""What a network expects of its input; stored with the weights, so that training and inference cannot differ."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from cryoembed.config import Config

Contrast = Literal["auto", "dark", "bright"]


class InputConfig(Config):
    """Contrast, clipping, scaling and voxel size of a network's input (design, section 4, "Normalisation")."""

    later: ClassVar[tuple[str, ...]] = ("flatten",)

    voxel_size: float = Field(10.0, gt=0, description="A; inputs are resampled to it")
    clip_percentiles: tuple[float, float] = (0.1, 99.9)
    scale: Literal["zscore", "unit"] = "zscore"  # zscore: mean 0, s.d. 1; unit: [0, 1], as in the thesis
    flatten: bool = Field(False, description="shells of spatial frequency made about equally strong, after scaling")
    sample_stride: int = Field(4, ge=1, description="every n-th voxel per axis feeds the percentiles: 1/64 of the data")

    @model_validator(mode="after")
    def _ordered(self) -> InputConfig:
        low, high = self.clip_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"clip_percentiles {self.clip_percentiles} must satisfy 0 <= low < high <= 100")
        if self.flatten and self.scale != "zscore":
            raise ValueError("a flattened input has the mean 0 and s.d. 1: scale must be zscore")
        return self
