"""Weighted back-projection (WBP) of a raw tilt series: alignment, binning, weighting, back-projection."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.alignment import align, fourier_crop
from cryoembed.simulate.imaging.backprojection import Centre, back_project
from cryoembed.simulate.imaging.geometry import TiltGeometry, centre_index
from cryoembed.simulate.imaging.weighting import ramp_filter

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]


def reconstruct(
    images: npt.NDArray[Any],
    geometry: TiltGeometry,
    shape_zyx: tuple[int, int, int],
    pixel_size: float,
    *,
    binning: int = 1,
    tilts: Literal["all", "even", "odd"] = "all",
    centre: Centre | None = None,
    hann: bool = True,
    threads: int | None = None,
    device: str = "cpu",
    out: Volume | None = None,
) -> Volume:
    """Weighted back-projection of a raw tilt series.

    Many tilts without noise give a density back with roughly its own amplitude, if the images are its line integrals in
    *voxels of the reconstruction before binning* (as `projection.project` gives them); the missing wedge and the soft
    Hann window take their part.

    Parameters
    ----------
    images
        (t, y, u) raw images.
    geometry
        Their tilts and alignment; with ``doses`` the images are weighted by exposure (`weighting.dose_weights`).
    shape_zyx
        Of the volume, in binned voxels.
    pixel_size
        A, of the raw images.
    binning
        The aligned images are Fourier-cropped by it first: voxel i of the result is centred at fine voxel ``i *
        binning``, so its origin is that of the unbinned volume.
    tilts
        ``even`` and ``odd`` take every other tilt in the order of angles, whatever the order of the images (the lowest
        is even), for two halves with independent noise.
    centre
        (z, y, x) index (binned voxels) seen at the centre of the images; default ``shape // 2``.
    hann
        Whether the ramp falls off softly towards Nyquist.

    Returns
    -------
    (z, y, x) float32.

    Raises
    ------
    InputError
        If images and tilts differ in number, no tilt is left, or sizes are not what they should be.
    """
    geometry.check_images(len(images))
    kept = _half(geometry, tilts)
    geometry = geometry.subset(kept)
    centre_zyx = centre_index(shape_zyx) if centre is None else centre
    whole = float(round(centre_zyx[1]))
    # what is left of a row is taken up by the resampling: row r shows what row r + rest would
    offset = ((whole - centre_zyx[1]) * binning, 0.0)
    raw = images if tilts == "all" else images[kept]  # no copy of a memory map
    filtered = fourier_crop(align(raw, geometry, offset_px=offset, threads=threads), binning)
    ramp_filter(  # in place: the images are there twice at most
        filtered,
        pixel_size * binning,
        tilts_deg=geometry.tilts_deg,
        weights=np.full(len(geometry), 1 / binning),  # line integrals were counted in fine voxels
        doses=geometry.doses,
        hann=hann,
        threads=threads,
        out=filtered,
    )
    return back_project(
        filtered,
        geometry.tilts_deg,
        shape_zyx,
        centre=(centre_zyx[0], whole, centre_zyx[2]),
        threads=threads,
        device=device,
        out=out,
    )


def _half(geometry: TiltGeometry, tilts: str) -> npt.NDArray[np.intp]:
    """Indices of the images that are kept, in their own order."""
    ranks = np.argsort(np.argsort(geometry.tilts_deg, kind="stable"))
    wanted = {"all": ranks >= 0, "even": ranks % 2 == 0, "odd": ranks % 2 == 1}
    if tilts not in wanted:
        raise InputError(f"tilts is {tilts!r}; expected one of {', '.join(wanted)}")
    kept = np.flatnonzero(wanted[tilts])
    if not len(kept):
        raise InputError(f"no tilt is left of {len(geometry)} for the {tilts!r} half; expected two or more")
    return kept
