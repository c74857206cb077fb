"""A coarser search: volume and template on a grid of larger voxels, for templates whose detail nobody can see anyway.

At twice the voxel size a rotation costs about an eighth; valid where the search is low-passed to half Nyquist, as it is
at 40 A with voxels of 10 A.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.matching.template import Volume
from cryoembed.preprocess.resample import resample


def coarser(volume: npt.NDArray[Any], template: npt.NDArray[Any], factor: int) -> tuple[Volume, Volume]:
    """Volume and template with voxels ``factor`` times as large, both low-passed alike.

    Voxel 0 of the volume stays where it is, so that peaks are found with the same origin and ``factor`` times the voxel
    size. The template is padded with its border, so that its centre stays at index ``n // 2``.

    Raises
    ------
    InputError
        If the factor is below 1.
    """
    if factor < 1:
        raise InputError(f"factor {factor}: expected a whole number from 1 on")
    size = template.shape[0]
    before = -(size // 2) % factor
    centre = (size // 2 + before) // factor
    after = factor * (2 * centre + 1) - size - before
    padded = np.pad(template, (before, after), mode="edge")
    return resample(volume, 1.0, float(factor)), resample(padded, 1.0, float(factor))
