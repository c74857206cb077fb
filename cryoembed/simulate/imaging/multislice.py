"""Images of thick or strong objects: the wave goes through slab after slab, so depth has its own defocus.

Kirkland 2010, section 6.4, with the settings of PyTom's MicrographModeller (SHREC 2021: slabs of 5 nm).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.simulate.electrons import wavelength
from cryoembed.simulate.imaging.fourier import Image, frequency_grid
from cryoembed.simulate.imaging.lens import Apron, Lens

Wave = npt.NDArray[np.complex64]


def exit_wave(
    phases: npt.NDArray[np.float32],
    slab: float,
    pixel: float,
    lens: Lens,
    apron: Apron,
    absorbed: npt.NDArray[np.float32] | None = None,
) -> Wave:
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
    apron
        Goes around every slab.
    absorbed
        (slabs, y, u) what each slab absorbs beyond the amplitude contrast; None: nothing.

    Returns
    -------
    (y, u) complex64 with its apron, 1 where nothing was met.
    """
    ky, kx = frequency_grid(apron.whole, pixel, half=False)
    turn = -np.pi * wavelength(lens.settings.voltage_kv) * slab
    onwards = np.exp(np.complex64(1j * turn) * (kx**2 + ky**2)).astype(np.complex64)
    occupied = np.array([phase.any() for phase in phases])
    wave = np.ones(apron.whole, dtype=np.complex64)
    if not occupied.any():
        return wave
    for index in range(int(np.argmax(occupied)), len(phases)):  # before that, a plane wave
        if occupied[index]:
            more = None if absorbed is None else apron.around(absorbed[index])
            wave *= _transmission(apron.around(phases[index]), lens.settings.amplitude_contrast, more)
        if index < len(phases) - 1:
            spectrum = fft.fft2(wave, overwrite_x=True)
            spectrum *= onwards
            wave = fft.ifft2(spectrum, overwrite_x=True)
    return wave


def multislice_image(
    phases: npt.NDArray[np.float32],
    slab: float,
    pixel: float,
    lens: Lens,
    absorbed: npt.NDArray[np.float32] | None = None,
) -> Image:
    """Contrast that an object gives the image: the intensity is 1 minus this.

    The lens looks at the wave behind the last slab, whose middle lies ``(n - 1) / 2`` slabs nearer to the lens than
    the centre, where the defocus is given. Coherence dampens the wave, which is exact for weak objects.

    Returns
    -------
    (y, u) float32; positive is dark.
    """
    apron = Apron.of((phases.shape[1], phases.shape[2]), pixel, lens)
    spectrum = fft.fft2(exit_wave(phases, slab, pixel, lens, apron, absorbed), overwrite_x=True)
    ky, kx = frequency_grid(apron.whole, pixel, half=False)
    beyond_um = (len(phases) - 1) / 2 * slab * 1e-4
    spectrum *= np.exp(np.complex64(1j) * lens.phase(ky, kx, extra_um=beyond_um)) * lens.envelope(np.hypot(ky, kx))
    wave = apron.without(fft.ifft2(spectrum, overwrite_x=True))
    return np.asarray(1 - (wave.real**2 + wave.imag**2), dtype=np.float32)


def _transmission(phase: Image, amplitude_contrast: float, absorbed: Image | None) -> Wave:
    """``exp(i sqrt(1 - A^2) s - A s)``: the same refraction and absorption as of weak phase objects."""
    turned = np.float32(np.sqrt(1 - amplitude_contrast**2)) * phase
    exponent = np.float32(-amplitude_contrast) * phase
    left = np.exp(exponent if absorbed is None else exponent - absorbed)
    transmission = np.empty(phase.shape, dtype=np.complex64)
    np.multiply(left, np.cos(turned), out=transmission.real)
    np.multiply(left, np.sin(turned), out=transmission.imag)
    return transmission
