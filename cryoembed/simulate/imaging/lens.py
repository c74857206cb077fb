"""The lens over a tilted image: contrast transfer by column, for the defocus changes across the tilt axis.

Depth grows along the beam. What lies nearer to the beam's exit is nearer to the lens and more underfocused: a column at
u of a tilted slab lies at the depth ``u tan t`` and has the underfocus ``D + u tan t``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.simulate.electrons import wavelength
from cryoembed.simulate.imaging.acquisition import OpticsSettings
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.fourier import Filter, Image, frequency_grid
from cryoembed.simulate.imaging.optics import aberration, coherence

_BLEND_RAD = 0.35  # half the phase between neighbouring levels at Nyquist: blended contrast is right to 6 % there


@dataclass(frozen=True)
class Lens:
    """The lens of one exposure.

    Attributes
    ----------
    slope
        Change of defocus along u, the tangent of the tilt; 0: the same everywhere.
    """

    defocus_um: float
    slope: float
    astigmatism_um: float
    astigmatism_deg: float
    phase_shift_deg: float
    settings: OpticsSettings

    @classmethod
    def of(cls, exposures: Exposures, tilt: int, settings: OpticsSettings) -> Lens:
        """The lens of the exposure number ``tilt``."""
        angle = np.deg2rad(np.clip(exposures.tilts_deg[tilt], -80, 80))  # at 90 degrees a slab has no image
        return cls(
            float(exposures.defocus_um[tilt]),
            float(np.tan(angle)) if settings.defocus_gradient else 0.0,
            exposures.astigmatism_um,
            exposures.astigmatism_deg,
            exposures.phase_shift_deg,
            settings,
        )

    def phase(self, ky: npt.ArrayLike, kx: npt.ArrayLike, *, extra_um: float = 0.0) -> Filter:
        """Aberration (rad) at spatial frequencies (1/A), with ``extra_um`` of additional underfocus.

        A phase plate turns what is scattered; the direct beam, at frequency 0, passes its hole.
        """
        phase = aberration(
            ky,
            kx,
            self.defocus_um + extra_um,
            voltage_kv=self.settings.voltage_kv,
            cs_mm=self.settings.cs_mm,
            astigmatism_um=self.astigmatism_um,
            astigmatism_deg=self.astigmatism_deg,
            phase_shift_deg=self.phase_shift_deg,
        )
        direct = (np.asarray(ky) == 0) & (np.asarray(kx) == 0)
        return np.where(direct, np.float32(0), phase)

    def envelope(self, k: npt.ArrayLike) -> Filter:
        """What coherence leaves at spatial frequencies (1/A)."""
        return coherence(k, self.defocus_um, self.settings)

    def levels(self, width_px: int, pixel: float) -> tuple[npt.NDArray[np.float64], Filter]:
        """Defoci (l,) in um beside that on the axis, and each one's weight in every column (l, u)."""
        away = (np.arange(width_px) - width_px // 2) * pixel * 1e-4 * self.slope
        reach = float(np.abs(away).max())
        per_um = np.pi * wavelength(self.settings.voltage_kv) * 1e4 * (0.5 / pixel) ** 2
        steps = int(np.ceil(reach * per_um / _BLEND_RAD)) if reach > 0 else 0
        if steps == 0:
            return np.zeros(1), np.ones((1, width_px), dtype=np.float32)
        levels = np.linspace(-reach, reach, steps + 1)
        gap = levels[1] - levels[0]
        weights = np.clip(1 - np.abs(away[None] - levels[:, None]) / gap, 0, 1)
        return levels, weights.astype(np.float32)


@dataclass(frozen=True)
class Apron:
    """Pixels around an image, so that what the lens carries over one border does not come in at the opposite one."""

    shape: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], pixel: float, lens: Lens) -> Apron:
        """As wide as the lens spreads a point: ``lambda D k`` at Nyquist."""
        spread = wavelength(lens.settings.voltage_kv) * abs(lens.defocus_um) * 1e4 * 0.5 / pixel
        least = min(int(np.ceil(spread / pixel)) + 4, min(shape))
        sizes = [fft.next_fast_len(size + 2 * least, real=True) for size in shape]
        after = (sizes[0] - shape[0] - least, sizes[1] - shape[1] - least)
        return cls(shape, (least, least), after)

    @property
    def whole(self) -> tuple[int, int]:
        """Size of the image with its apron."""
        return (self.shape[0] + self.before[0] + self.after[0], self.shape[1] + self.before[1] + self.after[1])

    def around(self, image: Image) -> Image:
        """The image (y, u), continued by its outermost pixels."""
        return np.asarray(np.pad(image, list(zip(self.before, self.after, strict=True)), mode="edge"))

    def without(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The image (y, u) alone."""
        (top, left), (height, width) = self.before, self.shape
        return image[top : top + height, left : left + width]


def through_lens(
    images: Sequence[Image], pixel: float, lens: Lens, filters: Callable[[Filter, Filter], Sequence[Filter]]
) -> Image:
    """The sum of images (y, u), each filtered by its function of the aberration, with every column's own defocus.

    Parameters
    ----------
    filters
        From the frequencies k (1/A) and the aberration (rad), both on an rfft2 grid, to one filter per image.
    """
    shape = (images[0].shape[0], images[0].shape[1])
    apron = Apron.of(shape, pixel, lens)
    spectra = [fft.rfft2(apron.around(image)) for image in images]
    ky, kx = frequency_grid(apron.whole, pixel)
    k = np.hypot(ky, kx)
    levels, weights = lens.levels(shape[1], pixel)
    total = np.zeros(shape, dtype=np.float32)
    for level, weight in zip(levels, weights, strict=True):
        used = np.flatnonzero(weight)
        if len(used):
            spectrum = np.zeros(k.shape, dtype=np.complex64)
            for one, transfer in zip(spectra, filters(k, lens.phase(ky, kx, extra_um=float(level))), strict=True):
                spectrum += one * transfer
            total[:, used] += weight[used] * apron.without(fft.irfft2(spectrum, s=apron.whole))[:, used]
    return total
