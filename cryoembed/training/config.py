"""How long, how fast and how exactly to train; the same for every recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cryoembed.config import Config


class TrainConfig(Config):
    """Settings of the one loop (`cryoembed.training.fit.fit`)."""

    steps: int = Field(1000, ge=1, description="optimizer steps of the whole training")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged into one step")
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0, description="the schedule's maximum")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    weight_decay: float = Field(1e-5, ge=0)
    schedule: Literal["warmup_cosine", "one_cycle", "constant"] = "warmup_cosine"
    warmup_steps: int = Field(0, ge=0, description="linear warm-up; one_cycle: 0 means 30 % of the steps")
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="> 0: what is kept is a moving average of the weights")
    checkpoint_gradients: bool = Field(False, description="run the backbone again in the backward pass: less memory")
    sync_batchnorm: bool = Field(
        False, description="batch statistics over all processes; GPUs only, torch has no other"
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto | cpu | cuda | cuda:1")
    devices: int = Field(
        1, ge=1, description="processes of data-parallel training; torchrun and Slurm set it themselves"
    )
    workers: int = Field(0, ge=0, description="threads that draw batches ahead; 0 draws between steps")
    composers: int = Field(
        1, ge=0, description="processes that make new scenes or phantoms, where data roll; 0 makes them between steps"
    )
    seed: int = 0
    checkpoint_every: int = Field(200, ge=1, description="steps")
    log_every: int = Field(10, ge=1, description="steps averaged into one line of log.jsonl")

    @model_validator(mode="after")
    def _warmup_inside(self) -> TrainConfig:
        if self.warmup_steps >= self.steps and self.steps > 1:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be smaller than steps {self.steps}")
        return self
