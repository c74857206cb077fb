"""The contrast that a sample and the lens give every tilted image, before ice and camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.simulate.density.gold import extra_absorption
from cryoembed.simulate.density.materials import PROTEIN_POTENTIAL
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.exposures import Exposures
from cryoembed.simulate.imaging.fourier import Image, filtered, frequency_grid
from cryoembed.simulate.imaging.lens import Lens
from cryoembed.simulate.imaging.multislice import multislice_image
from cryoembed.simulate.imaging.optics import aperture_end, damage, sample_blur
from cryoembed.simulate.imaging.projection import project, project_slabs
from cryoembed.simulate.imaging.surroundings import Mirrored, reach_vox
from cryoembed.simulate.imaging.weak_phase import phase_shift_of, weak_phase_image

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]


class Contrasts:
    """The contrast of every tilt; weak phase projects all tilts at once, multislice one by one.

    Parameters
    ----------
    density
        (z, y, x) float32.
    gold
        (z, y, x) where gold is, which absorbs more than its share (`density.gold`); None: nowhere.
    threads, device
        As for `projection.project`.
    """

    def __init__(
        self,
        density: Volume,
        voxel_size: float,
        config: ImagingConfig,
        exposures: Exposures,
        *,
        gold: npt.NDArray[np.bool_] | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._density, self._voxel_size, self._config, self._exposures = density, voxel_size, config, exposures
        self._image_shape = density.shape[1:]
        ky, kx = frequency_grid((density.shape[1], density.shape[2]), voxel_size)
        self._k = np.hypot(ky, kx)
        self._blur = sample_blur(self._k, config)
        self._gold: Volume | None = None  # what it absorbs, in density of protein; only rows where there is some
        if gold is not None and gold.any():
            volts = extra_absorption(config.voltage_kv, aperture_end(config), config.amplitude_contrast)
            self._rows = np.flatnonzero(gold.any(axis=(0, 2)))
            self._gold = gold[:, self._rows] * np.float32(volts / PROTEIN_POTENTIAL)
        self._projected: Images | None = None
        self._absorbing: Images | None = None
        if config.model == "weak_phase":
            tilts, width = exposures.tilts_deg, density.shape[2]
            self._projected = project(
                self._around(density, tilts), tilts, width_px=width, threads=threads, device=device
            )
            if self._gold is not None:
                self._absorbing = project(
                    self._around(self._gold, tilts), tilts, width_px=width, threads=threads, device=device
                )

    def at(self, tilt: int) -> Image:
        """(y, u): the intensity is 1 minus this; what blurs the sample blurs the contrast."""
        config, exposures, pixel = self._config, self._exposures, self._voxel_size
        lens = Lens.of(exposures, tilt, config)
        if self._projected is not None:
            absorbed = None if self._absorbing is None else self._absorption(self._absorbing[tilt])
            contrast = weak_phase_image(self._phase(self._projected[tilt]), pixel, lens, absorbed)
        else:
            slab_vox = max(config.slab / pixel, 1.0)
            slabs = self._slabs(self._density, tilt, slab_vox)
            gold = None if self._gold is None else self._absorption(self._slabs(self._gold, tilt, slab_vox))
            contrast = multislice_image(self._phase(slabs), slab_vox * pixel, pixel, lens, gold)
        blur = self._blur
        if config.damage:
            blur = blur * damage(self._k, exposures.doses[tilt]).astype(np.float32)
        return filtered(contrast, blur)

    def _slabs(self, volume: Volume, tilt: int, slab_vox: float) -> Images:
        angle = float(self._exposures.tilts_deg[tilt])
        return project_slabs(self._around(volume, angle), angle, slab_vox, width_px=self._image_shape[1], threads=1)

    def _around(self, volume: Volume, tilts_deg: npt.ArrayLike) -> Any:
        """The volume, with as much around it as these tilts see."""
        if self._config.surroundings == "ice":
            return volume
        return Mirrored(volume, reach_vox(volume.shape, tilts_deg))

    def _phase(self, line_integrals: Images) -> Images:
        """Rad; line integrals are in voxels of density."""
        return phase_shift_of(
            line_integrals * np.float32(self._voxel_size * PROTEIN_POTENTIAL), self._config.voltage_kv
        )

    def _absorption(self, gold: Images) -> Images:
        """(..., y, u) exponents from (..., rows, u) line integrals of the rows that hold gold."""
        whole = np.zeros((*gold.shape[:-2], *self._image_shape), dtype=np.float32)
        whole[..., self._rows, :] = self._phase(np.maximum(gold, 0))  # the projection rings where a mask ends
        return whole
