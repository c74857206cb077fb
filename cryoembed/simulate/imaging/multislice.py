"""Images of thick or strong objects: the wave goes through slab after slab, so depth has its own defocus.

Kirkland 2010, section 6.4, with the settings of PyTom's MicrographModeller (SHREC 2021: slabs of 5 nm).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.simulate.imaging.lens import Apron, Image, Lens
from cryoembed.simulate.imaging.optics import electron_wavelength, frequency_grid

Wave = npt.NDArray[np.complex64]


def exit_wave(phases: npt.NDArray[np.float32], slab: float, pixel: float, lens: Lens) -> Wave:
    """The wave behind the last slab's middle.

    Parameters
    ----------
    phases
        (slabs, y, u) phase shift of each slab, rad; the beam meets the first one first.
    slab
        A between the middles of neighbouring slabs.
    pixel
        A.
    lens
        Its settings hold amplitude contrast and voltage.

    Returns
    -------
    (y, u) complex64, 1 where nothing was met.
    """
    amplitude = lens.settings.amplitude_contrast
    strength = np.complex64(1j * np.sqrt(1 - amplitude**2) - amplitude)
    ky, kx = frequency_grid((phases.shape[1], phases.shape[2]), pixel, half=False)
    turn = -np.pi * electron_wavelength(lens.settings.voltage_kv) * slab
    onwards = np.exp(np.complex64(1j * turn) * (kx**2 + ky**2)).astype(np.complex64)
    occupied = np.flatnonzero(phases.any(axis=(1, 2)))
    wave = np.ones(phases.shape[1:], dtype=np.complex64)
    for index, phase in enumerate(phases):
        if index > 0 and len(occupied) and index > occupied[0]:  # a plane wave propagates into itself
            spectrum = fft.fft2(wave, overwrite_x=True)
            spectrum *= onwards
            wave = fft.ifft2(spectrum, overwrite_x=True)
        if index in occupied:
            wave *= np.exp(strength * phase)
    return wave


def multislice_image(phases: npt.NDArray[np.float32], slab: float, pixel: float, lens: Lens) -> Image:
    """Contrast that an object gives the image: the intensity is 1 minus this.

    The lens looks at the wave behind the last slab, whose middle lies ``(n - 1) / 2`` slabs nearer to the lens than
    the centre, where the defocus is given. Coherence dampens the wave, which is exact for weak objects.

    Returns
    -------
    (y, u) float32; positive is dark.
    """
    shape = (phases.shape[1], phases.shape[2])
    apron = Apron.of(shape, pixel, lens)
    spectrum = fft.fft2(exit_wave(apron.around(phases), slab, pixel, lens), overwrite_x=True)
    ky, kx = frequency_grid((spectrum.shape[0], spectrum.shape[1]), pixel, half=False)
    beyond_um = (len(phases) - 1) / 2 * slab * 1e-4
    spectrum *= np.exp(np.complex64(1j) * lens.phase(ky, kx, extra_um=beyond_um)) * lens.envelope(np.hypot(ky, kx))
    wave = apron.without(fft.ifft2(spectrum, overwrite_x=True))
    return np.asarray(1 - (wave.real**2 + wave.imag**2), dtype=np.float32)
