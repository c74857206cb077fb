"""What the microscope and the reconstruction make of a sample: a tilt series, and the tomogram of it.

Density, projections, optics, camera, tilt images, weighted back-projection. From the camera on everything is linear,
so signal and noise are reconstructed apart: the noise-free tomogram comes for free, and noise can be scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.io.mrc import read_mrc
from cryoembed.io.tilt_series import read_tilts
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import Exposures, draw_exposures
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.reconstruction import measured_snr, reconstructed, snr_region
from cryoembed.simulate.imaging.spectrum import Spectra, spectra_of
from cryoembed.simulate.imaging.tilt_images import take_tilt_series

Volume = npt.NDArray[np.float32]
__all__ = ["Imaged", "ImagingConfig", "image", "snr_region"]


@dataclass(frozen=True, eq=False)
class Imaged:
    """A tomogram as a user would get it, and what it would be without noise; all in the contrast asked for.

    Attributes
    ----------
    reconstruction
        (z, y, x); its unit is that of the density, as far as the contrast transfer lets it through.
    even, odd
        Of two halves of the electrons (``halves: frames``; the reconstruction is their mean) or of the tilts.
    clean
        The same reconstruction of noise-free images: with wedge, contrast transfer, radiation damage and misalignment.
        The sample itself is the density that came in.
    params
        What was drawn and measured, by name.
    voxel_size
        A, of these volumes.
    geometry
        The tilts as reported; the misalignment is in ``exposures``.
    tilt_series
        (t, y, u) counts as recorded (protein dark), or None unless ``write_tilt_series``.
    """

    reconstruction: Volume
    even: Volume
    odd: Volume
    clean: Volume
    params: dict[str, float]
    voxel_size: float
    geometry: TiltGeometry
    exposures: Exposures
    tilt_series: npt.NDArray[np.float32] | None = None


def image(
    density: Volume,
    voxel_size: float,
    config: ImagingConfig,
    generator: np.random.Generator,
    *,
    occupancy: npt.NDArray[np.generic] | None = None,
    sample_mask: npt.NDArray[np.bool_] | None = None,
    gold: npt.NDArray[np.bool_] | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> Imaged:
    """Turn a density (particles bright) into a tilt series and a tomogram.

    Parameters
    ----------
    density
        (z, y, x) float32, ice 0, the inside of protein 1.
    occupancy
        (z, y, x) nonzero (or True) inside macromolecules; needed for ``snr_particle``.
    sample_mask
        (z, y, x) where ice is; None: everywhere, and beyond the volume's sides as well.
    gold
        (z, y, x) where gold is, which absorbs more than its share (`density.gold`); None: nowhere.
    threads
        Default: all that this process may use; the result is the same for any number.
    device
        ``cpu``, ``cuda[:N]`` or ``auto``: where volumes are projected (weak phase) and images back-projected. The optics
        of single tilts, and the slabs of multislice, are the CPU's in any case. Another device rounds sums otherwise:
        ``clean`` is the same to about 1e-4 of its range, and chance, which follows the means, may draw other noise of
        the same kind. Tested on torch's CPU only, never run on a GPU.

    Raises
    ------
    InputError
        If ``snr_particle`` is asked for without any occupied voxel, an SNR of a constant density, the density is not
        a finite volume, or a file of the settings can't be used.
    """
    _check(density, voxel_size, config)
    shape = tuple(size // config.binning for size in density.shape)
    thinned = _thinned(occupancy, config.binning)
    region = snr_region(shape, config, thinned)
    exposures = draw_exposures(config, _planned_tilts(config), voxel_size, generator)
    if np.isfinite(exposures.snr) and not np.ptp(density) > 0:
        raise InputError(
            "imaging: the density is constant, there is no signal to set the noise by; pack some particles"
        )
    spectra = _wanted_spectra(config)
    images = take_tilt_series(
        density,
        voxel_size,
        config,
        exposures,
        generator,
        sample_mask=sample_mask,
        gold=gold,
        spectra=spectra,
        threads=threads,
        device=device,
    )
    if not images.mean > 0:
        raise InputError(
            "imaging: hardly an electron gets through this sample; raise mean_free_path or lower the tilts"
        )
    geometry = TiltGeometry(exposures.nominal_deg, doses=exposures.doses)
    volumes, scale = reconstructed(images, exposures, voxel_size, config, shape, region, threads=threads, device=device)
    sign = np.float32(-1.0 if config.contrast == "dark" else 1.0)
    for volume in volumes:
        volume *= sign
    tilt_series = None
    if config.write_tilt_series:
        tilt_series = images.signal if images.noise is None else images.signal + scale * images.noise
    reconstruction, even, odd, clean = volumes
    params = _params(exposures) | measured_snr(reconstruction, clean, thinned)
    return Imaged(
        reconstruction, even, odd, clean, params, voxel_size * config.binning, geometry, exposures, tilt_series
    )


def _params(exposures: Exposures) -> dict[str, float]:
    return {
        "defocus_um": float(exposures.defocus_um.mean()),
        "dose": exposures.dose,
        "mean_free_path": exposures.mean_free_path,
        "phase_shift_deg": exposures.phase_shift_deg,
        "shift_sd": exposures.shift_sd,
        "tilts": float(len(exposures.nominal_deg)),
    }


def _planned_tilts(config: ImagingConfig) -> npt.NDArray[np.float64]:
    """(t,) angles, from the file where there is one: those that its user kept."""
    if config.tilt_file is None:
        return config.planned_tilts_deg()
    table = read_tilts(config.tilt_file)
    return table.tilts_deg if table.used is None else table.tilts_deg[table.used]


def _wanted_spectra(config: ImagingConfig) -> Spectra | None:
    if config.spectrum_file is None:
        return None
    images, header = read_mrc(config.spectrum_file)
    pixel = header.voxel_size_zyx[2] if config.spectrum_pixel is None else config.spectrum_pixel
    if not pixel > 0:
        raise InputError(f"{config.spectrum_file} states no pixel size; give spectrum_pixel")
    return spectra_of(images, pixel)


def _thinned(occupancy: npt.NDArray[np.generic] | None, binning: int) -> npt.NDArray[np.generic] | None:
    return occupancy if occupancy is None or binning == 1 else occupancy[::binning, ::binning, ::binning]


def _check(density: Volume, voxel_size: float, config: ImagingConfig) -> None:
    if density.ndim != 3 or min(density.shape) < 2:
        raise InputError(f"imaging: a volume (z, y, x) was expected, got the shape {density.shape}")
    if not voxel_size > 0:
        raise InputError(f"imaging: voxel size {voxel_size}; expected A, above 0")
    if not np.isfinite(np.sum(density, dtype=np.float64)):
        raise InputError("imaging: the density holds values that are not finite")
    step = config.binning
    if step > 1 and (density.shape[0] % step or density.shape[1] % (2 * step) or density.shape[2] % (2 * step)):
        raise InputError(
            f"imaging: the shape {density.shape} can't be binned by {step}; "
            f"z must be a multiple of {step}, y and x of {2 * step}"
        )
