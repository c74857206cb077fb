"""From a volume to its tilt images: line integrals by linear splatting, with the splat's own transfer divided out.

Every voxel is a point that is shared between the two nearest columns: a convolution with a triangle, whose Fourier
transform is sinc^2. Divided out, what is left of the error is aliasing. It would be worst near tilt 0, where the points
of all rows fall on the same columns and repeat the spectrum at every whole frequency: so columns are half a pixel wide
until the images are cut to their own band, which costs no more sums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.geometry import tilt_vectors

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]
# columns beyond either border of the image that are projected as well: the inverse of sinc^2 rings over a few
MARGIN_PX = 16
OVERSAMPLING = 2  # columns per pixel before the transfer is divided out


def project(
    volume_zyx: npt.NDArray[Any],
    tilts_deg: npt.ArrayLike,
    *,
    width_px: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    compensate: bool = True,
    out: Images | None = None,
) -> Images:
    """Line integrals of a volume at tilts about the y axis through its centre (index ``n // 2``).

    Parameters
    ----------
    volume_zyx
        (z, y, x), any real type; may be a memory map: blocks of rows are read one at a time.
    tilts_deg
        (t,) degrees. A voxel at (dz, dx) from the centre is seen at u = dx cos t - dz sin t from column ``width // 2``.
    width_px
        Columns of the images; default: as many as x has.
    threads
        How many CPU threads; default: all that this process may use.
    device
        ``cpu``, or a torch device (``cuda``).
    compensate
        Divide the splat's sinc^2 out (exact to about 1 % for smooth densities). Without it the projection is the
        transpose of `backprojection.back_project`.
    out
        (t, y, width) float32 to write into, for instance a memory map.

    Returns
    -------
    (t, y, u) float32: sums of density along the beam, in voxels.

    Raises
    ------
    InputError
        If the volume has not three axes, a tilt is no number, or ``out`` has another shape.
    """
    cosines, sines = tilt_vectors(tilts_deg)
    check_volume(volume_zyx)
    depth, height, length = volume_zyx.shape
    width = length if width_px is None else int(width_px)
    if width < 1:
        raise InputError(f"width_px is {width}; expected the number of image columns, 1 or more")
    images = check_out(out, (len(cosines), height, width))
    finer, margin = (OVERSAMPLING, MARGIN_PX) if compensate else (1, 0)
    columns = finer * (width + 2 * margin)
    centre = (float(depth // 2), float(length // 2), float(finer * (width // 2 + margin)))
    cosines, sines = finer * cosines, finer * sines
    if device != "cpu":
        from cryoembed.simulate.imaging.splat_torch import project_rows

        def work(rows: slice) -> None:
            block = project_rows(volume_zyx[:, rows], cosines, sines, centre, columns, device)
            images[:, rows] = _sharpen(block, margin) if compensate else block

        for rows in row_blocks(height, 128):
            work(rows)
        return images

    from cryoembed.simulate.imaging.splat import LANES, from_lanes, splat, to_lanes

    def project_block(rows: slice) -> None:
        block = np.empty((depth, length, LANES), dtype=np.float32)
        to_lanes(np.ascontiguousarray(volume_zyx[:, rows], dtype=np.float32), block)
        seen = np.zeros((len(cosines), columns + 2, LANES), dtype=np.float32)
        splat(block, cosines, sines, *centre, seen)
        plain = np.empty((len(cosines), rows.stop - rows.start, columns), dtype=np.float32)
        from_lanes(seen, 1, plain)
        images[:, rows] = _sharpen(plain, margin) if compensate else plain

    in_threads(project_block, row_blocks(height, LANES), threads)
    return images


def project_slabs(
    volume_zyx: npt.NDArray[Any],
    tilt_deg: float,
    slab_vox: float,
    *,
    width_px: int | None = None,
    threads: int | None = None,
    compensate: bool = True,
) -> Images:
    """Sums of density within slabs perpendicular to the beam, for multislice; their sum over slabs is `project`.

    Slab s of n is centred at the depth ``(s + 0.5 - n / 2) * slab_vox`` from the rotation centre; the beam travels
    towards greater depth, which is greater z at tilt 0. There are as many slabs as the tilted volume is deep.

    Parameters
    ----------
    slab_vox
        Thickness of a slab in voxels, 1 or more.

    Returns
    -------
    (slabs, y, u) float32.
    """
    from cryoembed.simulate.imaging.splat import LANES, from_lanes, splat_slabs, to_lanes

    (cosine,), (sine,) = tilt_vectors(tilt_deg)
    check_volume(volume_zyx)
    if not slab_vox >= 1:
        raise InputError(f"slab_vox is {slab_vox}; expected the thickness of a slab in voxels, 1 or more")
    depth, height, length = volume_zyx.shape
    width = length if width_px is None else int(width_px)
    count = slab_count((depth, height, length), tilt_deg, slab_vox)
    finer, margin = (OVERSAMPLING, MARGIN_PX) if compensate else (1, 0)
    columns = finer * (width + 2 * margin)
    centre = (float(depth // 2), float(length // 2), float(finer * (width // 2 + margin)))
    slabs = np.empty((count, height, width), dtype=np.float32)

    def project_block(rows: slice) -> None:
        block = np.empty((depth, length, LANES), dtype=np.float32)
        to_lanes(np.ascontiguousarray(volume_zyx[:, rows], dtype=np.float32), block)
        seen = np.zeros((count, columns + 2, LANES), dtype=np.float32)
        splat_slabs(block, cosine, sine, finer, *centre, float(slab_vox), seen)
        plain = np.empty((count, rows.stop - rows.start, columns), dtype=np.float32)
        from_lanes(seen, 1, plain)
        slabs[:, rows] = _sharpen(plain, margin) if compensate else plain

    in_threads(project_block, row_blocks(height, LANES), threads)
    return slabs


def slab_count(shape_zyx: tuple[int, int, int], tilt_deg: float, slab_vox: float) -> int:
    """How many slabs of ``slab_vox`` cover the whole volume at a tilt, symmetric about the rotation centre."""
    tilt = np.deg2rad(tilt_deg)
    half = (shape_zyx[2] // 2 + 0.5) * abs(np.sin(tilt)) + (shape_zyx[0] // 2 + 0.5) * abs(np.cos(tilt))
    return max(int(np.ceil(2 * half / slab_vox - 1e-9)), 1)


def check_volume(volume_zyx: npt.NDArray[Any]) -> None:
    """Raise `InputError` unless there are three axes, none of them empty."""
    if volume_zyx.ndim != 3 or 0 in volume_zyx.shape:
        raise InputError(f"a volume of shape {volume_zyx.shape} came; expected (z, y, x), none of them empty")


def check_out(out: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """``out`` if its shape is right, a new array if it is None."""
    if out is None:
        return np.empty(shape, dtype=np.float32)
    if out.shape != shape or out.dtype != np.float32:
        raise InputError(f"out is {out.dtype} of shape {out.shape}; expected float32 of shape {shape}")
    return out


def row_blocks(height: int, size: int) -> list[slice]:
    """Slices of ``size`` rows that cover all of them."""
    return [slice(start, min(start + size, height)) for start in range(0, height, size)]


def in_threads(work: Callable[[slice], None], blocks: Iterable[slice], threads: int | None) -> None:
    """Run ``work`` on every block; the work itself must let go of the GIL."""
    count = _usable_threads() if threads is None else max(int(threads), 1)
    if count == 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(work, blocks):
            pass


def _sharpen(images: Images, margin: int) -> Images:
    """(..., 2 (margin + u + margin)) half-pixel columns -> (..., u): the triangle's transfer divided out, margins cut."""
    width = images.shape[-1] // OVERSAMPLING
    size = fft.next_fast_len(width + MARGIN_PX, real=True)
    spectrum = fft.rfft(images, n=OVERSAMPLING * size, axis=-1)[..., : size // 2 + 1]
    spectrum /= np.sinc(np.fft.rfftfreq(size) / OVERSAMPLING).astype(np.float32) ** 2
    return np.asarray(fft.irfft(spectrum, n=size, axis=-1)[..., margin : width - margin], dtype=np.float32)


def _usable_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
