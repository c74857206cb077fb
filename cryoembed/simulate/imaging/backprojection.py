"""From tilt images back to a volume: alignment, weighting and back-projection (weighted back-projection, WBP)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.alignment import align, fourier_crop
from cryoembed.simulate.imaging.blocks import check_out, row_blocks
from cryoembed.simulate.imaging.geometry import TiltGeometry, centre_index, tilt_vectors
from cryoembed.simulate.imaging.weighting import angular_weights, dose_weights, ramp_filter
from cryoembed.simulate.threads import in_threads

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]
Centre = tuple[float, float, float]
__all__ = ["align", "angular_weights", "back_project", "dose_weights", "fourier_crop", "ramp_filter", "reconstruct"]


def back_project(
    images: npt.NDArray[Any],
    tilts_deg: npt.ArrayLike,
    shape_zyx: tuple[int, int, int],
    *,
    centre: Centre | None = None,
    threads: int | None = None,
    device: str = "cpu",
    out: Volume | None = None,
) -> Volume:
    """Sum over the images of what each holds where the voxel is seen, u = dx cos t - dz sin t, linear between columns.

    Parameters
    ----------
    images
        (t, y, u), aligned; weighted by `ramp_filter` if the result shall be a density.
    tilts_deg
        (t,) degrees.
    shape_zyx
        Of the volume; parts beyond the images stay 0.
    centre
        (z, y, x) index in the volume that is seen at the images' centre (index ``n // 2``) at every tilt; default
        ``shape // 2``. It may lie outside and between voxels, but y must be whole: rows are taken as they are.
    threads, device
        As for `projection.project`.
    out
        (z, y, x) float32 to write into, for instance a memory map: blocks of rows are written one at a time.

    Returns
    -------
    (z, y, x) float32.

    Raises
    ------
    InputError
        If tilts and images differ in number, or shapes are not what they should be.
    """
    cosines, sines = tilt_vectors(tilts_deg)
    _check_images(images, len(cosines))
    if len(shape_zyx) != 3 or min(shape_zyx) < 1:
        raise InputError(f"shape_zyx is {tuple(shape_zyx)}; expected three sizes (z, y, x), each 1 or more")
    volume = check_out(out, tuple(shape_zyx))
    depth, height, length = volume.shape
    _, image_height, width = images.shape
    centre_z, centre_y, centre_x = centre_index(volume.shape) if centre is None else centre
    shift = image_height // 2 - centre_y  # image row of volume row 0
    if shift != round(shift):
        raise InputError(f"the centre's y is {centre_y}; expected a whole row (shift the images by the rest: `align`)")
    shift = round(shift)
    place = (float(centre_z), float(centre_x), float(width // 2))
    covered = slice(min(max(-shift, 0), height), max(min(image_height - shift, height), 0))
    if covered.start >= covered.stop:
        raise InputError(
            f"the volume's {height} rows lie beside the {image_height} rows of the images; check the centre"
        )
    volume[:, : covered.start] = 0
    volume[:, covered.stop :] = 0
    if device != "cpu":
        from cryoembed.simulate.imaging.splat_torch import back_project_rows

        for rows in row_blocks(covered.stop - covered.start, 128):
            here = slice(rows.start + covered.start, rows.stop + covered.start)
            there = slice(here.start + shift, here.stop + shift)
            volume[:, here] = back_project_rows(images[:, there], cosines, sines, place, depth, length, device)
        return volume

    from cryoembed.simulate.imaging.splat import LANES, from_lanes, gather, to_lanes

    def work(rows: slice) -> None:
        here = slice(rows.start + covered.start, rows.stop + covered.start)
        seen = np.zeros((len(cosines), width + 2, LANES), dtype=np.float32)
        part = np.ascontiguousarray(images[:, here.start + shift : here.stop + shift], dtype=np.float32)
        to_lanes(part, seen[:, 1:-1])
        block = np.zeros((depth, length, LANES), dtype=np.float32)
        gather(seen, cosines, sines, *place, block)
        rows_zyx = np.empty((depth, here.stop - here.start, length), dtype=np.float32)
        from_lanes(block, 0, rows_zyx)
        volume[:, here] = rows_zyx

    in_threads(work, row_blocks(covered.stop - covered.start, LANES), threads)
    return volume


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


def _check_images(images: npt.NDArray[Any], count: int) -> None:
    if images.ndim != 3 or 0 in images.shape:
        raise InputError(f"tilt images of shape {images.shape} came; expected (tilt, y, u), none of them empty")
    if len(images) != count:
        raise InputError(f"{len(images)} tilt images came with {count} tilts; give one tilt per image, in their order")
