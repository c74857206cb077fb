"""Growing seeds over a mask along a height map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

try:
    from bioimage_cpp.segmentation import watershed as _fast_watershed
except ImportError:  # no wheel for Linux on aarch64
    _fast_watershed = None

Labels = npt.NDArray[np.int32]  # (z, y, x)


def masked_watershed(
    height: npt.NDArray[np.floating], markers: Labels, mask: npt.NDArray[np.bool_], *, fast: bool | None = None
) -> Labels:
    """Flood ``height`` from ``markers`` inside ``mask``; each voxel of the mask that a seed reaches gets its label.

    Parameters
    ----------
    height
        (z, y, x), low inside particles and high at boundaries.
    markers
        (z, y, x) int32 seeds; 0 elsewhere.
    mask
        Where labels may grow.
    fast
        True takes bioimage-cpp (3.6 times faster), False scikit-image; None takes what is installed.
    """
    if _fast_watershed is None if fast is None else not fast:
        from skimage.segmentation import watershed

        return np.asarray(watershed(height, markers, mask=mask), dtype=np.int32)
    flooded = _fast_watershed(
        np.ascontiguousarray(height, dtype=np.float32), np.ascontiguousarray(markers), mask=np.ascontiguousarray(mask)
    )
    return np.asarray(flooded, dtype=np.int32)
