"""What chance made of the plan: the angle, dose, defocus and misalignment that each tilt really got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.geometry import TiltGeometry

Floats = npt.NDArray[np.float64]
_LEAST = 3  # tilts that are kept whatever goes missing


@dataclass(frozen=True, eq=False)
class Exposures:
    """A tilt series as it was taken; one row per tilt that was kept, by ascending angle.

    Attributes
    ----------
    nominal_deg, tilts_deg
        (t,) the angles that are reported, and those at which the stage stood.
    doses, dose, dose_per_tilt
        e/A^2 on the sample: (t,) by the middle of each exposure, in all, and by one exposure.
    defocus_um
        (t,) underfocus positive, on the tilt axis.
    astigmatism_um, astigmatism_deg, phase_shift_deg, mean_free_path, beam_damage_snr, snr
        Of the whole series; 0 or infinity where there is none.
    misalignment
        How the images are displaced, which nobody undoes.
    """

    nominal_deg: Floats
    tilts_deg: Floats
    doses: Floats
    dose: float
    dose_per_tilt: float
    defocus_um: Floats
    astigmatism_um: float
    astigmatism_deg: float
    phase_shift_deg: float
    mean_free_path: float
    beam_damage_snr: float
    snr: float
    shift_sd: float
    misalignment: TiltGeometry


def draw_exposures(
    config: ImagingConfig, planned_deg: Floats, pixel_size: float, generator: np.random.Generator
) -> Exposures:
    """Draw a series; every setting takes its draws even where it is off, so that switching one leaves the others.

    Parameters
    ----------
    planned_deg
        (t,) angles, in any order.
    pixel_size
        A, of the images.

    Raises
    ------
    InputError
        If there are fewer than three angles, or they repeat or lie beyond 90 degrees.
    """
    planned = np.sort(np.asarray(planned_deg, dtype=np.float64))
    check_tilts(planned)
    count = len(planned)
    defocus = generator.uniform(*config.defocus_um)
    dose = generator.uniform(*config.dose)
    mean_free_path = generator.uniform(*config.mean_free_path)
    phase_shift = generator.uniform(*config.phase_shift_deg)
    astigmatism, angle = generator.normal(0, config.astigmatism_um), generator.uniform(0, 180)
    shift_sd = generator.uniform(*config.shift_sd)
    snr = _log_uniform(config.snr_particle or config.snr_volume, generator)
    damage_snr = _log_uniform(config.beam_damage_snr, generator)
    normal = generator.standard_normal((6, count))
    kept = _kept(generator.random(count) >= config.missing_tilts)
    misalignment = TiltGeometry(
        planned,
        shifts_px=shift_sd / pixel_size * normal[2:4].T,
        rotations_deg=config.rotation_sd_deg * normal[4],
        magnifications=np.exp(config.magnification_sd * normal[5]),
    )
    order = np.argsort(acquisition_order(planned, config.dose_scheme))  # when each angle was taken
    return Exposures(
        nominal_deg=planned[kept],
        tilts_deg=(planned + config.angle_jitter_deg * normal[0])[kept],
        doses=np.asarray(dose / count * (order + 0.5), dtype=np.float64)[kept],
        dose=float(dose),
        dose_per_tilt=float(dose / count),
        defocus_um=(defocus + config.defocus_jitter_um * normal[1])[kept],
        astigmatism_um=float(astigmatism),
        astigmatism_deg=float(angle),
        phase_shift_deg=float(phase_shift),
        mean_free_path=float(mean_free_path),
        beam_damage_snr=damage_snr,
        snr=snr,
        shift_sd=float(shift_sd),
        misalignment=misalignment.subset(kept),
    )


def check_tilts(planned_deg: Floats, source: str = "tilts") -> None:
    """Raise an `InputError` unless these are several different angles up to 90 degrees."""
    planned = np.sort(planned_deg)
    if len(planned) < _LEAST or not np.abs(planned).max() <= 90 or not np.diff(planned).min() > 0:
        raise InputError(f"{source}: expected at least {_LEAST} different angles between -90 and 90, got {planned}")


def acquisition_order(tilts_deg: Floats, scheme: str) -> npt.NDArray[np.intp]:
    """(t,) indices of the tilts in the order in which they are taken.

    ``continuous`` starts at the least angle; ``bidirectional`` goes from 0 up, then from 0 down; ``dose_symmetric``
    takes small angles first, on either side in turn (Hagen et al. 2017).
    """
    if scheme == "continuous":
        return np.argsort(tilts_deg, kind="stable")
    if scheme == "bidirectional":
        rising = np.argsort(tilts_deg, kind="stable")
        return np.concatenate([rising[tilts_deg[rising] >= 0], rising[tilts_deg[rising] < 0][::-1]])
    return np.argsort(np.abs(tilts_deg), kind="stable")


def _kept(wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Indices of the tilts that are there; the middle ones are put back if hardly any is."""
    if wanted.sum() < _LEAST:
        middle = len(wanted) // 2
        wanted = wanted.copy()
        wanted[middle - 1 : middle + 2] = True
    return np.flatnonzero(wanted)


def _log_uniform(limits: Sequence[float] | None, generator: np.random.Generator) -> float:
    place = generator.random()
    if limits is None:
        return float("inf")
    low, high = np.log(limits)
    return float(np.exp(low + place * (high - low)))
