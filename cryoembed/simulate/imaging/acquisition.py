"""How a tilt series is taken and reconstructed: the settings of the imaging simulation."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cryoembed.config import Config

Range = tuple[float, float]


class ImagingConfig(Config):
    """How a tomogram is taken; ranges are drawn once per tomogram: uniformly, SNRs log-uniformly.

    The signal-to-noise ratio is a ratio of variances: ``snr_particle`` inside dilated masks of the macromolecules
    (needs the occupancy), ``snr_volume`` over the reconstruction. One is given and the other null; both null: no noise.
    """

    tilt_max_deg: float = Field(default=60.0, gt=0, le=90)
    tilt_step_deg: float = Field(default=3.0, gt=0, le=30)
    tilt_axis: Literal["y"] = "y"
    ctf: bool = True
    ctf_correction: Literal["none", "phase_flip"] = "phase_flip"
    defocus_um: Range = (2.0, 5.0)  # underfocus positive
    defocus_jitter_um: Annotated[float, Field(ge=0)] = 0.2  # s.d. from tilt to tilt
    voltage_kv: float = Field(default=300.0, gt=0)
    cs_mm: float = Field(default=2.7, ge=0)
    amplitude_contrast: float = Field(default=0.1, ge=0, le=1)
    dose: Annotated[float, Field(ge=0)] = 120.0  # e/A^2 over the series, dose-symmetric; 0: no radiation damage
    dose_weighting: bool = True  # whether the reconstruction weighted each tilt by what its dose had left
    cosine_weighting: bool = True  # and by the cosine of its angle
    mean_free_path: Annotated[float, Field(ge=0)] = (
        3500.0  # A, inelastic: tilted ice lets fewer electrons through; 0: off
    )
    bfactor: Annotated[float, Field(ge=0)] = 200.0  # A^2, amplitude envelope exp(-B k^2 / 4)
    lowpass: Annotated[float, Field(ge=0)] = 0.0  # A, soft cut of the reconstruction; 0: none
    snr_particle: Range | None = (0.1, 0.5)
    snr_volume: Range | None = None
    noise_exponent: Range = (0.3, 0.9)  # colour of the projections' noise: power ~ k^-exponent
    contrast: Literal["dark", "bright"] = "dark"

    @model_validator(mode="after")
    def _consistent(self) -> ImagingConfig:
        if self.snr_particle is not None and self.snr_volume is not None:
            raise ValueError("give snr_particle or snr_volume and set the other to null")
        for name in ("snr_particle", "snr_volume", "defocus_um", "noise_exponent"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name}: the range {limits} runs backwards")
        for name in ("snr_particle", "snr_volume"):
            limits = getattr(self, name)
            if limits is not None and limits[0] <= 0:
                raise ValueError(f"{name}: must be positive, got {limits}")
        return self

    @property
    def tilts_deg(self) -> npt.NDArray[np.float64]:
        """(t,) tilt angles, symmetric about 0."""
        steps = int(np.floor(self.tilt_max_deg / self.tilt_step_deg + 1e-9))
        return np.arange(-steps, steps + 1, dtype=np.float64) * self.tilt_step_deg
