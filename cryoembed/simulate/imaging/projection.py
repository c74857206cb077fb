"""From a volume to its tilt images: line integrals by linear splatting, with the splat's own transfer divided out.

Every voxel is a point that is shared between the two nearest columns: a convolution with a triangle, whose Fourier
transform is sinc^2. Divided out, what is left of the error is aliasing. It would be worst near tilt 0, where the points
of all rows fall on the same columns and repeat the spectrum at every whole frequency: so columns are a quarter of a
pixel wide until the images are cut to their own band, which costs no more sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryoembed.errors import InputError
from cryoembed.simulate.imaging.blocks import check_out, row_blocks
from cryoembed.simulate.imaging.geometry import tilt_vectors
from cryoembed.simulate.imaging.splat_torch import project_rows, resolved
from cryoembed.simulate.threads import in_threads

Images = npt.NDArray[np.float32]
Volume = npt.NDArray[np.float32]
# columns beyond either border of the image that are projected as well: the inverse of sinc^2 rings over a few
MARGIN_PX = 16
OVERSAMPLING = 4  # columns per pixel before the transfer is divided out


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
        How many CPU threads; default: all that this process may use. Each takes some 80 MB for 61 tilts of 180 x 512.
    device
        ``cpu``, ``cuda[:N]`` or ``auto`` (a GPU where there is one).
    compensate
        Divide the splat's sinc^2 out: exact to 0.2 % for densities as smooth as Gaussians of 1 voxel s.d. (0.6 % at
        45 degrees). Without it the projection is the transpose of `backprojection.back_project`.
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
    _check_volume(volume_zyx)
    depth, height, length = volume_zyx.shape
    width = length if width_px is None else int(width_px)
    if width < 1:
        raise InputError(f"width_px is {width}; expected the number of image columns, 1 or more")
    images = check_out(out, (len(cosines), height, width))
    finer, margin = (OVERSAMPLING, MARGIN_PX) if compensate else (1, 0)
    columns = finer * (width + 2 * margin)
    centre = (float(depth // 2), float(length // 2), float(finer * (width // 2 + margin)))
    cosines, sines = finer * cosines, finer * sines
    device = resolved(device)
    if device != "cpu":

        def work(rows: slice) -> None:
            block = project_rows(volume_zyx[:, rows], cosines, sines, centre, columns, device)
            images[:, rows] = _sharpen(block, margin) if compensate else block

        for rows in row_blocks(height, 128):
            work(rows)
        return images

    from cryoembed.simulate.imaging.splat import LANES, splat

    def project_block(rows: slice) -> None:
        seen = np.zeros((len(cosines), columns + 2, LANES), dtype=np.float32)
        splat(_in_lanes(volume_zyx, rows), cosines, sines, *centre, seen)
        images[:, rows] = _out_of_lanes(seen, rows, margin, compensate)

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
    from cryoembed.simulate.imaging.splat import LANES, splat_slabs

    (cosine,), (sine,) = tilt_vectors(tilt_deg)
    _check_volume(volume_zyx)
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
        seen = np.zeros((count, columns + 2, LANES), dtype=np.float32)
        splat_slabs(_in_lanes(volume_zyx, rows), cosine, sine, finer, *centre, float(slab_vox), seen)
        slabs[:, rows] = _out_of_lanes(seen, rows, margin, compensate)

    in_threads(project_block, row_blocks(height, LANES), threads)
    return slabs


def slab_count(shape_zyx: tuple[int, int, int], tilt_deg: float, slab_vox: float) -> int:
    """How many slabs of ``slab_vox`` cover the whole volume at a tilt, symmetric about the rotation centre."""
    tilt = np.deg2rad(tilt_deg)
    half = (shape_zyx[2] // 2 + 0.5) * abs(np.sin(tilt)) + (shape_zyx[0] // 2 + 0.5) * abs(np.cos(tilt))
    return max(int(np.ceil(2 * half / slab_vox - 1e-9)), 1)


def _check_volume(volume_zyx: npt.NDArray[Any]) -> None:
    """Raise `InputError` unless there are three axes, none of them empty."""
    if volume_zyx.ndim != 3 or 0 in volume_zyx.shape:
        raise InputError(f"a volume of shape {volume_zyx.shape} came; expected (z, y, x), none of them empty")


def _in_lanes(volume_zyx: npt.NDArray[Any], rows: slice) -> npt.NDArray[np.float32]:
    """(z, x, lanes) of some rows, read in one go."""
    from cryoembed.simulate.imaging.splat import LANES, to_lanes

    block = np.empty((volume_zyx.shape[0], volume_zyx.shape[2], LANES), dtype=np.float32)
    to_lanes(np.ascontiguousarray(volume_zyx[:, rows], dtype=np.float32), block)
    return block


def _out_of_lanes(seen: npt.NDArray[np.float32], rows: slice, margin: int, compensate: bool) -> Images:
    """(n, columns + 2, lanes) -> (n, rows, u)."""
    from cryoembed.simulate.imaging.splat import from_lanes

    plain = np.empty((seen.shape[0], rows.stop - rows.start, seen.shape[1] - 2), dtype=np.float32)
    from_lanes(seen, 1, plain)
    return _sharpen(plain, margin) if compensate else plain


def _sharpen(images: Images, margin: int) -> Images:
    """(..., 4 (margin + u + margin)) fine columns -> (..., u): the triangle's transfer divided out, margins cut."""
    width = images.shape[-1] // OVERSAMPLING
    size = fft.next_fast_len(width + MARGIN_PX, real=True)
    spectrum = fft.rfft(images, n=OVERSAMPLING * size, axis=-1)[..., : size // 2 + 1]
    spectrum /= np.sinc(np.fft.rfftfreq(size) / OVERSAMPLING).astype(np.float32) ** 2
    return np.asarray(fft.irfft(spectrum, n=size, axis=-1)[..., margin : width - margin], dtype=np.float32)
