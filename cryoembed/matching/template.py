"""What a template looks like in the data: turned, with the data's missing wedge and contrast transfer, under its mask.

The mask is a sphere, which no rotation changes: the volume's local mean and s.d. are then those of one mask (Roseman
2003, Ultramicroscopy 94, 225), and a rotation costs one inverse transform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.rotations import matrices_zyx

Volume = npt.NDArray[np.float32]  # (z, y, x)
Transfer = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]  # over spatial frequency, cycles per voxel


@dataclass(frozen=True, eq=False)
class Probe:
    """A template made ready to be turned: `kernels` of it are what a volume is correlated with.

    Attributes
    ----------
    spline
        Cubic B-spline coefficients of the density.
    mask
        (m, m, m) the sphere; odd, its centre in the middle.
    filter
        Wedge and contrast transfer on the rfft grid of a box of twice the template's edge; None: neither.
    """

    spline: Volume
    mask: npt.NDArray[np.bool_]
    filter: npt.NDArray[np.float32] | None

    @property
    def reach(self) -> int:
        """Voxels from the mask's centre to its border, along an axis."""
        return int(self.mask.shape[0] // 2)

    def seen(self, rotation: Rotation) -> Volume:
        """The turned density as the data hold it, in a cubic box with the centre at ``n // 2``."""
        box = max(self.spline.shape[0], 2 * self.reach + 1)
        matrix = matrices_zyx(rotation)[0].T
        offset = self.spline.shape[0] // 2 - matrix @ np.full(3, box // 2)
        turned = ndimage.affine_transform(
            self.spline, matrix, offset, (box, box, box), output=np.float32, order=3, mode="constant", prefilter=False
        )
        if self.filter is None:
            return np.asarray(turned)
        size = self.filter.shape[0]
        spectrum = fft.rfftn(turned, (size, size, size))
        spectrum *= self.filter
        return np.asarray(fft.irfftn(spectrum, (size, size, size), overwrite_x=True)[:box, :box, :box])

    def kernel(self, rotation: Rotation) -> Volume:
        """(m, m, m): correlated with a volume and divided by its local s.d. it gives Pearson's r under the mask."""
        seen = self.seen(rotation)
        low = seen.shape[0] // 2 - self.reach
        inner = slice(low, low + 2 * self.reach + 1)
        values = seen[inner, inner, inner][self.mask]
        values = values - values.mean(dtype=np.float64)
        spread = np.sqrt(np.mean(values**2))
        if not spread > 0:
            raise InputError("the template is constant under its mask; give a larger radius, or another map")
        kernel = np.zeros(self.mask.shape, dtype=np.float32)
        kernel[self.mask] = values / (len(values) * spread)
        return kernel


def probe(
    template: npt.ArrayLike, *, mask_radius_vox: float, tilt_max_deg: float | None = None, ctf: Transfer | None = None
) -> Probe:
    """Make a template ready.

    Parameters
    ----------
    template
        (n, n, n) bright density, its centre at index ``n // 2``.
    mask_radius_vox
        Of the sphere within which template and volume are compared.
    tilt_max_deg
        The data's largest tilt about y, at both ends of its range; None: no wedge is missing.
    ctf
        Transfer function over spatial frequency in cycles per voxel, for data whose contrast was not corrected.

    Raises
    ------
    InputError
        If the template is no cube or not finite, the radius leaves fewer than two voxels, or the tilt is not in
        (0, 90].
    """
    density = np.asarray(template, dtype=np.float32)
    if density.ndim != 3 or len(set(density.shape)) != 1:
        raise InputError(f"template: expected a cubic box (n, n, n), got {density.shape}; pad it to a cube")
    if not np.isfinite(density).all():
        raise InputError("template: holds voxels that are not finite numbers; mend the map")
    if not 1 <= mask_radius_vox < np.inf:
        raise InputError(f"mask radius {mask_radius_vox} voxels: expected 1 or more")
    reach = int(np.floor(mask_radius_vox))
    along = np.arange(-reach, reach + 1)
    mask = along[:, None, None] ** 2 + along[:, None] ** 2 + along**2 <= mask_radius_vox**2
    spline = np.asarray(ndimage.spline_filter(density, order=3, output=np.float32, mode="mirror"))
    return Probe(spline, mask, _filter(max(len(density), 2 * reach + 1), tilt_max_deg, ctf))


def wedge(shape_zyx: tuple[int, int, int], tilt_max_deg: float) -> npt.NDArray[np.float32]:
    """On the rfft grid of ``shape_zyx``: 1 where tilts about y up to ``tilt_max_deg`` reach, 0 in the wedge around z.

    The edge is soft over one voxel of the grid, so that grids of different size agree.

    Raises
    ------
    InputError
        If the tilt is not in (0, 90].
    """
    if not 0 < tilt_max_deg <= 90:
        raise InputError(f"largest tilt {tilt_max_deg} degrees: expected more than 0, at most 90")
    fz, fy, fx = _frequencies(shape_zyx)
    angle = np.deg2rad(tilt_max_deg)
    # distance from the edge in cycles per voxel; the frequency 0 is always there
    distance = np.abs(fx) * np.sin(angle) - np.abs(fz) * np.cos(angle)
    soft = np.clip(distance * min(shape_zyx[0], shape_zyx[2]) + 0.5, 0, 1)
    soft[0, :, 0] = 1
    return np.ascontiguousarray(np.broadcast_to(soft, np.broadcast_shapes(soft.shape, fy.shape)), dtype=np.float32)


def _filter(box: int, tilt_max_deg: float | None, ctf: Transfer | None) -> npt.NDArray[np.float32] | None:
    """Padded to twice the box: the wedge smears a particle along z, and what is smeared must not come back."""
    if tilt_max_deg is None and ctf is None:
        return None
    size = int(fft.next_fast_len(2 * box, real=True))
    shape = (size, size, size)
    transfer = np.ones((size, size, size // 2 + 1), dtype=np.float32)
    if tilt_max_deg is not None:
        transfer *= wedge(shape, tilt_max_deg)
    if ctf is not None:
        fz, fy, fx = _frequencies(shape)
        transfer *= ctf(np.sqrt(fz**2 + fy**2 + fx**2)).astype(np.float32)
    return transfer


def _frequencies(shape: tuple[int, int, int]) -> tuple[npt.NDArray[np.float64], ...]:
    z, y, x = shape
    return fft.fftfreq(z)[:, None, None], fft.fftfreq(y)[None, :, None], fft.rfftfreq(x)[None, None, :]
