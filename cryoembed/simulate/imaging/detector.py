"""What a counting camera makes of an image: electrons by chance, blurred, with noise of its own colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial import polynomial

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.acquisition import DetectorSettings
from cryoembed.simulate.imaging.fourier import Filter, Image, filtered, frequency_grid

# Gatan K2 Summit, counting, 300 kV; frequency as a share of Nyquist. Cubics fitted to the measured curves that PyTom
# ships, right to 0.004 (MTF) and 0.013 (DQE); below a hundredth of Nyquist the MTF rises to 1 (scattered electrons).
_K2_MTF = (0.9401, -0.0775, -0.5175, 0.1195)
_K2_TAIL = 0.004
_K2_DQE = (0.7729, 0.0003, -1.3141, 0.7264)


def mtf_k2(share_of_nyquist: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Modulation transfer of a K2: 1 at frequency 0."""
    share = np.clip(np.asarray(share_of_nyquist, dtype=np.float64), 0, 1.5)
    body = np.maximum(polynomial.polyval(share, _K2_MTF), 0.2)
    return np.asarray(body + (1 - _K2_MTF[0]) * np.exp(-share / _K2_TAIL), dtype=np.float64)


def dqe_k2(share_of_nyquist: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Detective quantum efficiency of a K2."""
    share = np.clip(np.asarray(share_of_nyquist, dtype=np.float64), 0, 1)
    return np.asarray(polynomial.polyval(share, _K2_DQE), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Detector:
    """A camera's curves on the rfft2 grid of an image.

    Attributes
    ----------
    mtf, dqe
        (y, u/2+1), or the number 1 for a perfect camera.
    efficiency
        The DQE at frequency 0: the share of the electrons that are counted.
    """

    mtf: Filter | float
    dqe: Filter | float
    efficiency: float

    @classmethod
    def of(cls, settings: DetectorSettings, shape: tuple[int, int], pixel: float) -> Detector:
        """The camera for images of a shape whose pixels are ``pixel`` A.

        Raises
        ------
        InputError
            If the camera's pixels are larger than those of the images.
        """
        if settings.detector == "none":
            return cls(1.0, 1.0, 1.0)
        camera = pixel / settings.oversampling if settings.detector_pixel is None else settings.detector_pixel
        if camera > pixel * (1 + 1e-6):
            raise InputError(
                f"detector_pixel {camera:g} A is larger than the voxels of {pixel:g} A; "
                "simulate with voxels at least as large, or leave detector_pixel null"
            )
        ky, kx = frequency_grid(shape, pixel)
        share = np.hypot(ky, kx) * (2 * camera)
        return cls(mtf_k2(share).astype(np.float32), dqe_k2(share).astype(np.float32), float(dqe_k2(0.0)))

    def noise_free(self, electrons: Image) -> Image:
        """What the camera shows on average: the electrons, blurred by its modulation transfer."""
        return filtered(electrons, self.mtf)

    def arriving(self, electrons: Image) -> Image:
        """Mean numbers of electrons to be counted, none below 0: those which the camera does not miss.

        The signal is dampened by what the camera's own noise takes away, ``sqrt(DQE / DQE(0))``: behind `shown`, the
        ratio of signal to noise has fallen by the DQE at every frequency. SHREC 2021 uses ``sqrt(DQE)`` and all of the
        electrons' noise, which is a better camera than the curves say.
        """
        dampening = np.sqrt(self.dqe * np.float32(self.efficiency))
        return np.maximum(filtered(electrons, dampening), 0)

    def shown(self, counts: Image) -> Image:
        """The image of counted electrons: blurred by ``NTF = MTF / sqrt(DQE)``, with their mean number restored."""
        return filtered(counts, self.mtf / np.sqrt(self.dqe * np.float32(self.efficiency)))


def count(electrons: Image, generator: np.random.Generator) -> Image:
    """Electrons that happen to come: Poisson numbers (y, u) with the given means."""
    return np.asarray(generator.poisson(electrons), dtype=np.float32)
