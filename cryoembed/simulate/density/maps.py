"""Maps -> templates: background, contrast, noise and strangers in the box are seen to before the mass is calibrated."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.calibration import calibrated
from cryoembed.simulate.density.template import Mask, Split, Template, check_mass

logger = logging.getLogger(__name__)

Component = Literal["all", "largest"]
Contrast = Literal["bright", "dark"]
_CORE = 0.15  # of the maximum: what a body consists of, where the skirts of neighbours no longer touch
_COMPARABLE = 0.5  # of the largest body's mass: a second complex, no loose domain
_DUST = 0.02  # of the largest body's mass: solvent noise
_INTERIOR = (0.2, 1.1)  # the maps at hand have 0.4 to 0.7 at 10 A, 0.5 to 0.6 at 5 A


def template_from_map(
    name: str,
    density: npt.NDArray[np.floating],
    map_voxel_size: float,
    mass_kda: float,
    voxel_size: float,
    *,
    symmetry: str = "C1",
    split: Split = "train",
    box_vox: int | None = None,
    contrast: Contrast = "bright",
    component: Component | None = None,
    membrane: bool = False,
) -> Template:
    """A template from a (z, y, x) map at any scale, mass-calibrated and recentred.

    A map of another voxel size is carried over as one Gaussian per voxel, which keeps mass and centre exactly and
    limits the band to the coarser of the two grids.

    Parameters
    ----------
    mass_kda
        Of *what the map holds*, which may be half of the complex.
    contrast, component
        See `body`.
    membrane
        Whether the map's box centre (index ``n // 2``) lies in a membrane of normal z; its offset is kept.

    Raises
    ------
    InputError
        As `body`, or if the mass is not positive or the particle doesn't fit into ``box_vox``.
    """
    check_mass(name, mass_kda)
    clean = body(name, density, map_voxel_size, contrast=contrast, component=component)
    if abs(map_voxel_size - voxel_size) < 1e-3 * voxel_size:
        made = calibrated(name, clean, voxel_size, mass_kda, symmetry=symmetry, split=split, box_vox=box_vox)
    else:
        index = np.argwhere(clean > 0)
        made = template_from_atoms(
            name,
            (index - np.array(clean.shape) // 2) * map_voxel_size,
            clean[tuple(index.T)],
            voxel_size,
            mass_kda,
            resolution=2.5 * max(map_voxel_size, voxel_size),
            symmetry=symmetry,
            split=split,
            box_vox=box_vox,
        )
    if not _INTERIOR[0] < made.interior < _INTERIOR[1]:
        logger.warning(
            "map %s: with a mass of %.4g kDa its interior is %.2f times protein; check mass_kda and the map's voxel size",
            name,
            mass_kda,
            made.interior,
        )
    return replace(made, membrane=membrane)


def body(
    name: str,
    density: npt.NDArray[np.floating],
    voxel_size: float,
    *,
    contrast: Contrast = "bright",
    component: Component | None = None,
) -> npt.NDArray[np.float64]:
    """A map's particle alone: bright on exact zero.

    The background is the median of the box's faces (maps normalised to mean 0 have a negative one). Values below 2 % of
    the maximum, four s.d. of the faces' noise or twice the root mean square of what lies below the background are
    background, too, and so are specks apart from the particle.

    Parameters
    ----------
    contrast
        "dark" for maps with dark particles.
    component
        A box with two comparable bodies is refused unless told: "all" (they belong together) or "largest".

    Raises
    ------
    InputError
        If voxels are no numbers, the map is constant, its particle is dark, or it holds several complexes.
    """
    data = np.asarray(density, dtype=np.float64)
    if data.ndim != 3 or min(data.shape) < 3:
        raise InputError(f"map {name}: expected a volume (z, y, x), got shape {data.shape}")
    if not np.isfinite(data).all():
        raise InputError(f"map {name}: {(~np.isfinite(data)).sum()} voxels are no numbers (NaN or infinite); mend it")
    if data.max() == data.min():
        raise InputError(f"map {name}: no positive mass, all voxels are {data.max():.3g}; expected a bright particle")
    faces = np.concatenate([np.take(data, side, axis).ravel() for axis in range(3) for side in (0, -1)])
    background = float(np.median(faces))
    noise = 1.4826 * float(np.median(np.abs(faces - background)))
    data = (data - background) * (1 if contrast == "bright" else -1)
    if (data**3).sum() <= 0:
        other = "dark" if contrast == "bright" else "bright"
        raise InputError(
            f"map {name}: its particle is {other}, its strongest values lie on the other side of the background; "
            f"set contrast: {other} if that is meant"
        )
    # what lies below the background is ripple and noise, and so is as much above it
    ripple = float(np.sqrt((data[data < 0] ** 2).mean())) if (data < 0).any() else 0.0
    data[data < max(0.02 * data.max(), 4 * noise, 2 * ripple)] = 0
    data *= _without_dust(data)
    return data * _chosen(name, data, voxel_size, component)


def _without_dust(data: npt.NDArray[np.float64]) -> Mask:
    labels, count = ndimage.label(data > 0)
    if count == 1:
        return np.asarray(labels > 0)
    masses = ndimage.sum_labels(data, labels, np.arange(count + 1))
    masses[0] = 0
    return np.asarray((masses >= _DUST * masses.max())[labels] & (labels > 0))


def _chosen(name: str, data: npt.NDArray[np.float64], voxel_size: float, component: Component | None) -> Mask:
    """Voxels of the wanted bodies; each voxel belongs to the body whose core is nearest."""
    everything = np.ones(data.shape, dtype=np.bool_)
    if component == "all":
        return everything
    blur = 4.0 / voxel_size  # at high resolution chains of one molecule stand apart
    seen = ndimage.gaussian_filter(data, blur) if blur > 0.75 else data
    cores, count = ndimage.label(seen > _CORE * seen.max())
    masses = ndimage.sum_labels(data, cores, np.arange(1, count + 1))
    order = np.argsort(masses)[::-1] + 1
    comparable = [label for label in order if masses[label - 1] >= _COMPARABLE * masses.max()]
    if len(comparable) > 1 and component is None:
        raise InputError(
            f"map {name} holds {len(comparable)} bodies of comparable mass apart from each other; set component: largest "
            "to take one of them (and mass_kda to its mass), or component: all if they are one particle"
        )
    if component is None or len(comparable) == 1:
        return everything
    nearest = ndimage.distance_transform_edt(~np.isin(cores, comparable), return_distances=False, return_indices=True)
    return np.asarray(cores[tuple(nearest)] == comparable[0])
