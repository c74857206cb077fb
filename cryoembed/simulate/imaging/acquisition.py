"""How a tilt series is taken and reconstructed: the settings of the imaging simulation and their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from cryoembed.config import Config

_MOST_DOSE = 1e6  # e/A^2
NotNegative = Annotated[float, Field(ge=0)]
Deviation = NotNegative  # a standard deviation; 0: none


def _range(value: Any) -> Any:
    """One number stands for a range without width."""
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Range = Annotated[tuple[float, float], BeforeValidator(_range)]


class TiltSettings(Config):
    """Which angles are taken, in which order, and how well they are aligned."""

    tilt_max_deg: float = Field(default=60.0, gt=0, le=90)
    tilt_step_deg: float = Field(default=3.0, gt=0, le=30)
    tilts_deg: tuple[float, ...] | None = None  # explicit angles in place of max and step
    tilt_file: Path | None = None  # or from a .tlt, .rawtlt or SHREC .meta file
    tilt_axis: Literal["y"] = "y"
    angle_jitter_deg: Deviation = 0.0  # of the stage; the reconstruction does not know
    missing_tilts: Annotated[float, Field(ge=0, lt=1)] = 0.0  # probability that a tilt was thrown away
    dose: Range = (100.0, 120.0)  # e/A^2 over the series
    dose_scheme: Literal["dose_symmetric", "continuous", "bidirectional"] = "dose_symmetric"
    damage: bool = True  # detail fades with the dose (Grant and Grigorieff)
    shift_sd: Range = (0.0, 0.0)  # A, left over after alignment and not undone; SHREC 2021: 3 to 10
    rotation_sd_deg: Deviation = 0.0
    magnification_sd: Deviation = 0.0


class OpticsSettings(Config):
    """What the sample and the lenses do to the wave."""

    model: Literal["weak_phase", "multislice"] = "weak_phase"
    surroundings: Literal["mirror", "ice"] = "mirror"  # beyond the volume's sides, where tilted images look
    slab: float = Field(default=50.0, gt=0)  # A, of the multislice
    voltage_kv: float = Field(default=300.0, gt=0)
    amplitude_contrast: float = Field(default=0.1, ge=0, lt=1)  # share of the potential that absorbs; gold: more
    mean_free_path: Range = (3100.0, 3800.0)  # A, of ice: thick ice lets fewer electrons through; 0: all
    ctf: bool = True
    defocus_um: Range = (2.0, 5.0)  # underfocus positive
    defocus_jitter_um: Deviation = 0.2  # from tilt to tilt
    defocus_gradient: bool = True  # across a tilted image
    astigmatism_um: Deviation = 0.03  # of half the difference between the two defoci
    phase_shift_deg: Range = (0.0, 0.0)  # of a phase plate
    cs_mm: NotNegative = 2.7
    cc_mm: NotNegative = 2.7
    energy_spread_ev: NotNegative = 0.7  # full width at half maximum
    illumination_mrad: NotNegative = 0.03  # semi-angle of the illumination
    aperture_um: NotNegative = 100.0  # diameter of the objective aperture; 0: none
    focal_length_mm: float = Field(default=4.7, gt=0)
    bfactor: NotNegative = 200.0  # A^2, amplitude envelope exp(-B k^2 / 4)
    motion_blur: NotNegative = 0.0  # A, s.d.; SHREC 2021: 4


class DetectorSettings(Config):
    """How electrons become counts."""

    detector: Literal["none", "k2"] = "k2"
    detector_pixel: Annotated[float, Field(gt=0)] | None = None  # A; null: voxel size / oversampling
    oversampling: float = Field(default=2.0, ge=1)  # camera pixels along one voxel
    poisson: bool = True
    beam_damage_snr: Range | None = None  # white noise of the sample, a ratio of variances; SHREC 2021: 0.6 to 1.4
    spectrum_file: Path | None = None  # a real tilt series that lends its radial amplitudes
    spectrum_pixel: Annotated[float, Field(gt=0)] | None = None  # A; null: as its header says
    snr_particle: Range | None = None
    snr_volume: Range | None = None


class ReconstructionSettings(Config):
    """What is done with the images."""

    ctf_correction: Literal["none", "phase_flip"] = "phase_flip"
    dose_weighting: bool = True  # whether the reconstruction weighted each tilt by what its dose had left
    cosine_weighting: bool = True  # and by the cosine of its angle
    lowpass: NotNegative = 0.0  # A, soft cut; 0: none
    binning: int = Field(default=1, ge=1)  # images are averaged before the reconstruction
    halves: Literal["frames", "tilts"] = "frames"
    contrast: Literal["dark", "bright"] = "dark"
    write_tilt_series: bool = False


class ImagingConfig(TiltSettings, OpticsSettings, DetectorSettings, ReconstructionSettings):
    """How a tomogram is taken; ranges are drawn once per tomogram: uniformly, SNRs log-uniformly.

    The noise follows from dose, ice and detector. ``snr_particle`` or ``snr_volume`` override it: the noise is scaled
    until the ratio of variances, inside dilated masks of the macromolecules (needs the occupancy) or over the whole
    reconstruction, is what was asked. ``halves: frames`` splits the electrons of each tilt, as movie frames do;
    ``tilts`` gives even and odd tilts.
    """

    @model_validator(mode="after")
    def _consistent(self) -> ImagingConfig:
        for name in ImagingConfig.model_fields:
            limits = getattr(self, name)
            if not isinstance(limits, tuple):
                continue
            if not np.isfinite(limits).all():
                raise ValueError(f"{name}: expected finite numbers, got {limits}")
            if name != "tilts_deg" and limits[0] > limits[1]:
                raise ValueError(f"{name}: the range {limits} runs backwards; give the smaller number first")
        for name in ("snr_particle", "snr_volume", "beam_damage_snr"):
            limits = getattr(self, name)
            if limits is not None and limits[0] <= 0:
                raise ValueError(f"{name}: must be positive, got {limits}")
        for name in ("shift_sd", "mean_free_path", "dose"):
            if getattr(self, name)[0] < 0:
                raise ValueError(f"{name}: must not be negative, got {getattr(self, name)}")
        if self.dose[1] > _MOST_DOSE:
            raise ValueError(f"dose {self.dose} e/A^2 over a series; expected at most {_MOST_DOSE:g}")
        self._check_conflicts()
        self._check_tilts()
        return self

    def _check_conflicts(self) -> None:
        asked = self.snr_particle or self.snr_volume
        if self.snr_particle is not None and self.snr_volume is not None:
            raise ValueError("give snr_particle or snr_volume and set the other to null")
        if asked and not self.poisson:
            raise ValueError(
                "an SNR was asked for, but poisson is false: there is no noise to scale; set poisson: true"
            )
        if self.dose[0] == 0:
            raise ValueError(
                "dose 0 takes no image; for no radiation damage set damage: false, for no noise poisson: false"
            )
        if self.mean_free_path[1] > 0 and self.mean_free_path[0] == 0:
            raise ValueError("mean_free_path: give 0 (no attenuation) or a range that starts above 0")
        if self.model == "multislice" and not self.ctf:
            raise ValueError("multislice has a lens; set ctf: true or model: weak_phase")
        if self.spectrum_pixel is not None and self.spectrum_file is None:
            raise ValueError("spectrum_pixel needs spectrum_file")

    def _check_tilts(self) -> None:
        if self.tilts_deg is not None and self.tilt_file is not None:
            raise ValueError("give tilts_deg or tilt_file, not both")
        if self.tilts_deg is None:
            return
        if len(self.tilts_deg) < 3 or len(set(self.tilts_deg)) < len(self.tilts_deg):
            raise ValueError(f"tilts_deg: expected at least 3 different angles, got {self.tilts_deg}")
        if not max(map(abs, self.tilts_deg)) <= 90:
            raise ValueError(f"tilts_deg: angles must lie between -90 and 90, got {self.tilts_deg}")

    def planned_tilts_deg(self) -> npt.NDArray[np.float64]:
        """(t,) ascending angles of ``tilts_deg``, or symmetric about 0; a ``tilt_file`` is read elsewhere."""
        if self.tilts_deg is not None:
            return np.sort(np.asarray(self.tilts_deg, dtype=np.float64))
        steps = int(np.floor(self.tilt_max_deg / self.tilt_step_deg + 1e-9))
        return np.arange(-steps, steps + 1, dtype=np.float64) * self.tilt_step_deg
