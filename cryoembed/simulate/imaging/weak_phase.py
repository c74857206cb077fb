"""Images of weak phase objects: projected potential, convolved with the contrast transfer of its column."""

from __future__ import annotations

import numpy as np

from cryoembed.simulate.electrons import interaction_constant
from cryoembed.simulate.imaging.fourier import Filter, Image
from cryoembed.simulate.imaging.lens import Lens, through_lens


def phase_shift_of(potential: Image, voltage_kv: float) -> Image:
    """Phase (rad) that a projected potential (V A) gives the wave."""
    return np.asarray(potential * np.float32(interaction_constant(voltage_kv)), dtype=np.float32)


def weak_phase_image(phase: Image, pixel: float, lens: Lens, absorbed: Image | None = None) -> Image:
    """Contrast that an object gives the image: the intensity is 1 minus this.

    ``2 phi`` goes through ``sin`` of the aberration, the absorbed share ``1 - exp(-2 a)`` through its ``cos``, with
    ``phi = sqrt(1 - A^2) s`` and ``a = A s`` for a phase shift s and the amplitude contrast A: to first order the
    contrast transfer function, but gold absorbs no more than there is.

    Parameters
    ----------
    phase
        (y, u) phase shift s of the wave behind the object, rad.
    pixel
        A.
    absorbed
        (y, u) what is added to a (gold absorbs more than light atoms); None: nothing.

    Returns
    -------
    (y, u) float32; positive is dark.
    """
    amplitude = np.float32(lens.settings.amplitude_contrast)
    refracted = np.float32(2 * np.sqrt(1 - amplitude**2)) * phase
    exponent = amplitude * phase if absorbed is None else amplitude * phase + absorbed
    lost = np.where(exponent > 0, -np.expm1(-2 * np.maximum(exponent, 0)), 2 * exponent)
    if not lens.settings.ctf:  # as if a perfect phase plate turned all of the phase into contrast
        return np.asarray(refracted - refracted.mean() + lost)

    def filters(k: Filter, aberration: Filter) -> list[Filter]:
        envelope = lens.envelope(k)
        return [envelope * np.sin(aberration), envelope * np.cos(aberration)]

    return through_lens([refracted, lost], pixel, lens, filters)
