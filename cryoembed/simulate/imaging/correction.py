"""What processing does to a tilt image before back-projection: spectrum, contrast transfer, dose, angle, low-pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.fourier import Filter, Image, filtered, frequency_grid
from cryoembed.simulate.imaging.lens import Lens, through_lens
from cryoembed.simulate.imaging.optics import ctf
from cryoembed.simulate.imaging.weighting import dose_weights


def correct(
    images: Sequence[Image], pixel: float, config: ImagingConfig, exposures: Exposures, tilt: int
) -> list[Image]:
    """Filter parts of one tilt image alike; afterwards protein is bright.

    Phases are flipped with the defocus that each column really has, as programs do which know the tilt axis. An
    uncorrected overfocused image has its sign turned. Weights are the cosine of the tilt, and what the dose has left.

    Parameters
    ----------
    images
        (y, u) arrays: signal and noise may come apart, for all of this is linear.
    """
    shape = (images[0].shape[0], images[0].shape[1])
    ky, kx = frequency_grid(shape, pixel)
    weight = _weight(np.hypot(ky, kx), config, exposures, tilt)
    lens = Lens.of(exposures, tilt, config)
    if not config.ctf or config.ctf_correction == "none":
        weight *= 1 if config.ctf and lens.defocus_um < 0 else -1
        return [filtered(image, weight) for image in images]

    def filters(k: Filter, aberration: Filter) -> list[Filter]:
        weight = _weight(k, config, exposures, tilt)
        return [np.where(ctf(aberration, config.amplitude_contrast) < 0, weight, -weight)]

    return [through_lens([image], pixel, lens, filters) for image in images]


def _weight(k: Filter, config: ImagingConfig, exposures: Exposures, tilt: int) -> Filter:
    weight = np.ones_like(k)
    if config.cosine_weighting:
        weight *= np.float32(np.cos(np.deg2rad(exposures.nominal_deg[tilt])))
    if config.dose_weighting and config.damage:
        weight *= dose_weights(k, float(exposures.doses[tilt]))
    if config.lowpass > 0:
        cut = np.clip((k * np.float32(config.lowpass) - 0.9) / 0.2, 0, 1)
        weight *= 0.5 * (1 + np.cos(np.pi * cut))
    return np.asarray(weight, dtype=np.float32)
