"""Where training subtomograms come from: every view has a new orientation, neighbours, microscope and noise.

What counts as the same (a class) and what as different follows ``shared views of rotation, wedge and noise``: networks
that see them as the same retrieve species they never saw (supervised contrastive learning on many phantoms).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryoembed.errors import InputError
from cryoembed.views.augment import AugmentConfig, augment, cropped
from cryoembed.views.imaging import Share, draw_microscopes, expected_power, flattened, image, transmitted
from cryoembed.views.masks import draw_masks, mask_boxes
from cryoembed.views.pool import NUISANCES, SubtomogramConfig, SubtomogramPool, build_pool
from cryoembed.views.rendering import paste, render

Batch = dict[str, Tensor]
__all__ = [
    "NUISANCES",
    "SubtomogramConfig",
    "SubtomogramPool",
    "build_pool",
    "draw_box_pairs",
    "draw_boxes",
    "draw_classes",
    "draw_triplets",
]


def draw_classes(
    pool: SubtomogramPool, config: SubtomogramConfig, generator: np.random.Generator, *, classes: int, views: int
) -> Batch:
    """Draw ``classes`` labels and ``views`` boxes of each.

    Returns
    -------
    dict
        ``input`` (classes * views, 1, box, box, box) and ``label`` (classes * views,) int64; the last labels are
        `NUISANCES`.
    """
    nuisances = int(generator.binomial(classes, config.nuisance_share))
    nuisances = max(min(nuisances, len(NUISANCES)), classes - len(pool.templates))
    chosen = _chosen(pool, config, classes - nuisances, generator)
    others = len(pool.templates) + generator.choice(len(NUISANCES), nuisances, replace=False)
    labels = np.repeat(np.concatenate([chosen, others]), views)
    return {"input": draw_boxes(pool, config, labels, generator)[:, None], "label": torch.from_numpy(labels)}


def _chosen(
    pool: SubtomogramPool, config: SubtomogramConfig, count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Different templates, a share of them structures where that is asked for."""
    if config.structure_share is None:
        return generator.choice(len(pool.templates), count, replace=False)
    phantoms = len(pool.templates) - pool.structures
    wanted = int(generator.binomial(count, config.structure_share))
    real = max(min(wanted, pool.structures), count - phantoms)
    parts = (
        generator.choice(phantoms, count - real, replace=False),
        generator.choice(pool.structures, real, replace=False),
    )
    return np.concatenate([parts[0], phantoms + parts[1]])


def draw_triplets(
    pool: SubtomogramPool, config: SubtomogramConfig, generator: np.random.Generator, *, batch: int
) -> Batch:
    """Draw ``batch`` anchors, another box of each one's class, and one of another class as heavy (thesis, section 4.1).

    Returns
    -------
    dict
        ``input`` (3 * batch, 1, box, box, box): anchors, then positives, then negatives; ``label`` (3 * batch,) int64.

    Raises
    ------
    InputError
        If no two classes are of one size class.
    """
    sizes = pool.size_classes
    rivals = [np.flatnonzero((sizes == size) & (np.arange(len(sizes)) != label)) for label, size in enumerate(sizes)]
    able = np.flatnonzero([len(others) > 0 for others in rivals])
    if len(able) == 0:
        raise InputError("refine needs two classes of one size class (by mass); raise data.phantoms")
    anchors = generator.choice(able, size=batch)
    negatives = np.array([generator.choice(rivals[anchor]) for anchor in anchors])
    labels = np.concatenate([anchors, anchors, negatives])
    return {"input": draw_boxes(pool, config, labels, generator)[:, None], "label": torch.from_numpy(labels)}


def draw_box_pairs(
    pool: SubtomogramPool,
    config: SubtomogramConfig,
    augmentation: AugmentConfig,
    generator: np.random.Generator,
    *,
    batch: int,
    share: Share = "nothing",
    distinct: bool = False,
) -> Batch:
    """Draw two views ``view_a``, ``view_b`` (b, 1, box, box, box) of each of ``batch`` particles.

    Parameters
    ----------
    share
        What the views of a pair have in common. ``image``: one box (orientation, neighbours, noise), augmented twice.
    distinct
        Whether each pair is of another species, as a loss with negatives needs it.
    """
    labels = (
        generator.choice(len(pool.templates), size=batch, replace=False)
        if distinct
        else generator.integers(len(pool.templates), size=batch)
    )
    if share == "image":
        once = _draw(pool, config, labels, generator)
        drawn = _Drawn(once.boxes.repeat(2, 1, 1, 1), None if once.own is None else once.own.repeat(2, 1, 1, 1))
    else:
        drawn = _draw(pool, config, np.tile(labels, 2), generator, pairs=share == "microscope")
    drawn = drawn._replace(boxes=augment(drawn.boxes, augmentation, generator))
    boxes = cropped(_masked(drawn, config, generator), augmentation, generator)
    return {"view_a": boxes[:batch, None], "view_b": boxes[batch:, None]}


def draw_boxes(
    pool: SubtomogramPool, config: SubtomogramConfig, labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> Tensor:
    """(n, box, box, box) float32 boxes of the given classes, as cut from a prepared tomogram and masked."""
    return _masked(_draw(pool, config, labels, generator), config, generator)


class _Drawn(NamedTuple):
    boxes: Tensor  # (n, box, box, box)
    own: Tensor | None  # the same shape: clean density of the box's own particle, where boxes are masked


def _masked(drawn: _Drawn, config: SubtomogramConfig, generator: np.random.Generator) -> Tensor:
    if drawn.own is None:
        return drawn.boxes
    return mask_boxes(drawn.boxes, draw_masks(drawn.own, config.mask_shares, config.mask_error_vox, generator))


def _draw(
    pool: SubtomogramPool,
    config: SubtomogramConfig,
    labels: npt.NDArray[np.int64],
    generator: np.random.Generator,
    *,
    pairs: bool = False,
) -> _Drawn:
    """Boxes before their masks; with ``pairs`` the second half shares microscopes with the first."""
    edge, count = config.edge_vox, len(labels)
    density, own = _arranged(pool, config, labels, generator)
    fill = torch.from_numpy(generator.uniform(*config.fill, size=count).astype(np.float32))
    drawn = draw_microscopes(
        min(config.microscopes, count), (edge, edge, edge), config.voxel_size, config.imaging, generator
    )
    which = generator.integers(len(drawn), size=count)
    if pairs:
        which, fill = np.tile(which[: count // 2], 2), fill[: count // 2].repeat(2)
    microscopes = drawn.of(which)
    particle = (transmitted(drawn.signal, pool.power) * pool.particle_variance)[torch.from_numpy(which)]
    # a tomogram filled to a share f has the mean f and about the variance f of its particles
    variances = {"particle_variance": particle, "volume_variance": fill * particle}
    noisy = image(density - fill[:, None, None, None], microscopes, **variances, generator=generator)
    if config.flatten:
        noisy = flattened(noisy, expected_power(microscopes, pool.power, **variances))
    inner = slice(config.margin_vox, config.margin_vox + config.box_vox)
    return _Drawn(
        noisy[:, inner, inner, inner].contiguous(),
        None if config.mask_shares.none == 1 else own[:, inner, inner, inner],
    )


def _arranged(
    pool: SubtomogramPool, config: SubtomogramConfig, labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(n, edge, edge, edge) clean boxes: the particle near the middle, neighbours around it; and without those."""
    edge = config.edge_vox
    boxes = torch.zeros((len(labels), edge, edge, edge))
    rendered: list[tuple[Tensor, float]] = []
    whole = np.full(3, edge // 2)
    for box, label in zip(boxes, labels, strict=True):
        shift = _shift(config, generator)
        near = np.floor(shift + 0.5).astype(np.int64)
        kind = int(label) - len(pool.templates)
        if kind < 0:
            template = pool.templates[int(label)]
            cube = render(template, generator, shift - near)
            rendered.append((cube, template.radius_vox))
            paste(box, cube, whole + near)
        elif NUISANCES[kind] == "membrane":
            _paste_membrane(box, pool, whole + near, generator)
        elif NUISANCES[kind] == "gold":
            paste(box, pool.beads[int(generator.integers(len(pool.beads)))], whole + near)
    alone = boxes.clone()
    for box, label in zip(boxes, labels, strict=True):
        own = pool.templates[int(label)].radius_vox if label < len(pool.templates) else generator.uniform(4, 10)
        for _ in range(int(generator.integers(config.neighbours + 1)) if rendered else 0):
            # neighbours are other particles of the batch, at their orientation: costs a copy, not a rotation
            cube, radius = rendered[int(generator.integers(len(rendered)))]
            distance = own + radius + generator.exponential(2.0) - 0.15 * min(own, radius)
            paste(box, cube, whole + _on_sphere(distance, generator))
        if label < len(pool.templates) and generator.random() < config.membrane_probability:
            _paste_membrane(box, pool, whole + _on_sphere(own + 3.0, generator), generator)
    return boxes, alone


def _paste_membrane(
    box: Tensor, pool: SubtomogramPool, at_zyx: npt.NDArray[np.int64], generator: np.random.Generator
) -> None:
    """Put a random membrane voxel of a random vesicle at ``at_zyx``."""
    which = int(generator.integers(len(pool.membranes)))
    density, voxels = pool.membranes[which], pool.membrane_voxels[which]
    voxel = voxels[int(generator.integers(len(voxels)))]
    centre = np.asarray(density.shape) // 2
    paste(box, density, at_zyx + centre - voxel)


def _shift(config: SubtomogramConfig, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    large = generator.random() < config.large_shift_probability
    reach = config.large_shift_vox if large else config.shift_vox
    return generator.uniform(-reach, reach, size=3)


def _on_sphere(radius: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    direction = generator.normal(size=3)
    return np.round(direction * (radius / np.linalg.norm(direction))).astype(np.int64)
