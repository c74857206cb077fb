"""How network maps become instances; every default is for particles of 100 kDa to 4 MDa at about 10 A per voxel."""

from __future__ import annotations

from pydantic import Field, model_validator

from cryoembed.config import Config


class InstanceConfig(Config):
    """Settings of `segment_instances`."""

    foreground_threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a voxel is particle")
    seed_distance_vox: float = Field(3.0, ge=1, description="seeds are the highest points within this radius")
    seed_sigma_vox: float = Field(1.5, ge=0, description="smoothing of the distance map before seeds are sought")
    min_volume_A3: float = Field(6e4, ge=0, description="A^3; smaller instances are dropped (1.21 A^3 per dalton)")
    max_volume_A3: float | None = Field(None, gt=0, description="A^3; larger instances (membranes) are dropped")
    fill_holes: bool = Field(True, description="enclosed cavities belong to the particle around them")
    use_multicut: bool = Field(True, description="merge fragments that no boundary separates")
    beta: float = Field(0.6, gt=0, lt=1, description="prior of a cut: lower merges more, higher splits more")
    # threshold, seeds, beta and shape_weight were chosen on validation tomograms (tests/benchmark/localisation.py)
    shape_weight: float = Field(
        0.8, ge=0, le=1, description="share of the neck between two fragments, beside the boundary map, in the evidence"
    )

    inside_lamella: bool = Field(False, description="drop instances outside the sample; needs a lamella head")

    @model_validator(mode="after")
    def _ordered(self) -> InstanceConfig:
        if self.max_volume_A3 is not None and self.max_volume_A3 <= self.min_volume_A3:
            raise ValueError(f"max_volume_A3 {self.max_volume_A3:g} must exceed min_volume_A3 {self.min_volume_A3:g}")
        return self
