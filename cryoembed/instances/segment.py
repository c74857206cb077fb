"""From a network's maps to instances: foreground parts, seeds, watershed, multicut (CryoSiam, section 3.2).

Works inside the bounding box of each connected part of the foreground, so that the empty rest of a tomogram costs
nothing. Only ratios of the distance map matter, so that it may be in voxels or scaled to any range.
"""

from __future__ import annotations

import logging
from typing import Any

import cc3d
import edt
import fastremap
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes

from cryoembed.instances.config import InstanceConfig
from cryoembed.instances.markers import seeds, smoothed
from cryoembed.instances.multicut import contacts, cut_probability, merge_fragments
from cryoembed.instances.watershed import masked_watershed

__all__ = ["InstanceConfig", "segment_instances"]

log = logging.getLogger(__name__)

Volume = npt.NDArray[np.float32]  # (z, y, x)
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]


def segment_instances(
    distance: npt.NDArray[Any],
    boundary: npt.NDArray[Any],
    foreground: npt.NDArray[Any],
    config: InstanceConfig,
    *,
    voxel_size: float = 10.0,
) -> Labels:
    """Label particles in the three maps of the instance head.

    Parameters
    ----------
    distance
        (z, y, x), larger deeper inside a particle; any scale, negative values count as zero.
    boundary, foreground
        (z, y, x) probabilities. All three may be memory maps; they are read box by box.
    config
        Thresholds, seeds, volumes, multicut.
    voxel_size
        A, for the volume limits.

    Returns
    -------
    (z, y, x) int32: 0 background, instances 1..n without gaps. Particles cut by the volume's border are kept.
    """
    if not distance.shape == boundary.shape == foreground.shape:
        raise ValueError(f"maps of unequal shapes {distance.shape}, {boundary.shape}, {foreground.shape}")
    parts = _foreground_parts(foreground, config.foreground_threshold)
    labels = np.zeros(parts.shape, dtype=np.int32)
    statistics = cc3d.statistics(parts)
    smallest = config.min_volume_A3 / voxel_size**3
    large = np.asarray(statistics["voxel_counts"] >= smallest)
    large[0] = False
    count = 0
    for part, (box, kept) in enumerate(zip(statistics["bounding_boxes"], large, strict=True)):
        if not kept:
            continue  # the background, or too small already
        mask = parts[box] == part
        whole = _without_holes(mask, large[parts[box]] & ~mask) if config.fill_holes else mask
        found = _segment_part(mask, whole, distance[box], boundary[box], config)
        inside = found > 0
        labels[box][inside] = found[inside] + count
        count += int(found.max())
    return _keep_volumes(
        labels, smallest, None if config.max_volume_A3 is None else config.max_volume_A3 / voxel_size**3
    )


def _foreground_parts(foreground: npt.NDArray[Any], threshold: float) -> npt.NDArray[Any]:
    """Connected parts (faces only: a corner is no contact) of the thresholded foreground."""
    mask = np.empty(foreground.shape, dtype=bool)
    for index in range(len(mask)):  # slice by slice: a half-precision memory map never becomes a whole array
        np.greater(foreground[index], threshold, out=mask[index])
    return np.asarray(cc3d.connected_components(mask, connectivity=6))


def _without_holes(mask: Mask, others: Mask) -> Mask:
    """Fill the cavities a part encloses, except those that hold something else (a vesicle's content)."""
    cavities = binary_fill_holes(mask) & ~mask
    if not cavities.any():
        return mask
    labelled = cc3d.connected_components(cavities, connectivity=6)
    empty = np.ones(int(labelled.max()) + 1, dtype=bool)
    empty[np.unique(labelled[others])] = False
    empty[0] = False
    return np.asarray(mask | empty[labelled])


def _segment_part(
    mask: Mask, whole: Mask, distance: npt.NDArray[Any], boundary: npt.NDArray[Any], config: InstanceConfig
) -> Labels:
    """Instances of one connected part (``whole`` with its holes filled), in its bounding box, numbered from 1."""
    depth = edt.edt(np.ascontiguousarray(whole), black_border=False)
    depth = np.minimum(depth, np.float32(sum(whole.shape)))  # infinite where there is no background at all
    hollow = int(whole.sum()) > int(mask.sum())
    # a shell's distance map is a ridge all around with many tops; its filled body has one
    source = depth if hollow else np.clip(np.asarray(distance, dtype=np.float32), 0, None)
    height = smoothed(source, whole, config.seed_sigma_vox)
    markers = seeds(height, whole, radius_vox=config.seed_distance_vox)
    if int(markers.max()) <= 1:
        return np.asarray(whole, dtype=np.int32)
    edges = np.asarray(boundary, dtype=np.float32)
    relief = edges - height / max(float(height.max()), 1e-6)
    fragments = masked_watershed(relief, markers, whole)
    if config.use_multicut:
        graph = contacts(fragments, edges, height, depth)
        peak = np.zeros(int(fragments.max()) + 1)
        np.maximum.at(peak, fragments.ravel(), height.ravel())
        probability = cut_probability(graph, peak, shape_weight=config.shape_weight)
        fragments = merge_fragments(fragments, graph, probability, beta=config.beta)
    return np.asarray(fastremap.renumber(fragments, in_place=False)[0], dtype=np.int32)


def _keep_volumes(labels: Labels, smallest_vox: float, largest_vox: float | None) -> Labels:
    counts = np.bincount(labels.ravel()) if labels.size < 2**24 else _counts(labels)
    keep = counts >= max(smallest_vox, 1)
    if largest_vox is not None:
        keep &= counts <= largest_vox
    keep[0] = False
    dropped = int(np.count_nonzero(counts[1:]) - np.count_nonzero(keep))
    if dropped:
        log.info("%d instances outside the volume limits dropped, %d kept", dropped, int(keep.sum()))
    table = np.zeros(len(counts), dtype=np.int32)
    table[keep] = np.arange(1, int(keep.sum()) + 1, dtype=np.int32)
    for index in range(len(labels)):
        labels[index] = table[labels[index]]
    return labels


def _counts(labels: Labels) -> npt.NDArray[np.int64]:
    total = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    for plane in labels:
        total += np.bincount(plane.ravel(), minlength=len(total))
    return total
