"""From tilt images back to a volume: the transpose of the projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.blocks import check_out, row_blocks
from cryoembed.simulate.imaging.geometry import centre_index, tilt_vectors
from cryoembed.simulate.imaging.splat_torch import back_project_rows, resolved
from cryoembed.simulate.threads import in_threads

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]
Centre = tuple[float, float, float]


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
    device = resolved(device)
    if device != "cpu":
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


def _check_images(images: npt.NDArray[Any], count: int) -> None:
    if images.ndim != 3 or 0 in images.shape:
        raise InputError(f"tilt images of shape {images.shape} came; expected (tilt, y, u), none of them empty")
    if len(images) != count:
        raise InputError(f"{len(images)} tilt images came with {count} tilts; give one tilt per image, in their order")
