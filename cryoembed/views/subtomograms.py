"""Where training subtomograms come from: every view has a new orientation, neighbours, microscope and noise.

What counts as the same (a class) and what as different follows ``shared views of rotation, wedge and noise``: networks
that see them as the same retrieve species they never saw (supervised contrastive learning on many phantoms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.density.phantoms import phantom, random_spec
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.objects import gold_bead, vesicle
from cryoembed.views.augment import AugmentConfig, augment
from cryoembed.views.imaging import ImagingRanges, Range, draw_microscopes, image, radial_power, transmitted
from cryoembed.views.rendering import OVERSAMPLING, FineTemplate, fine_template, paste, render

NUISANCES = ("background", "membrane", "gold")
RESOLUTION_PER_VOXEL = 1.6  # A per A: makes a fine grid look like one averaged over coarse voxels

Batch = dict[str, Tensor]


class SubtomogramConfig(Config):
    """What boxes hold and how they are imaged."""

    kind: Literal["subtomograms"] = "subtomograms"
    voxel_size: float = Field(10.0, gt=0, description="A")
    box_vox: int = Field(32, ge=8)
    margin_vox: int = Field(2, ge=0, description="imaged around a box, then cut off with its wrapped-around streaks")
    phantoms: int = Field(600, ge=2, description="each a class of its own")
    mass_range_kda: Range = (80.0, 4000.0)
    shift_vox: float = Field(1.5, ge=0, description="largest offset of the particle from the box centre, per axis")
    large_shift_vox: float = Field(3.0, ge=0)
    large_shift_probability: float = Field(0.15, ge=0, le=1)
    neighbours: int = Field(4, ge=0, description="at most, around each particle")
    membrane_probability: float = Field(0.1, ge=0, le=1, description="of a membrane beside a particle")
    nuisance_share: float = Field(0.1, ge=0, lt=1, description="of a batch's classes: background, membrane, gold")
    fill: Range = Field((0.02, 0.2), description="occupied share of the tomogram a box stands for; sets the scale")
    microscopes: int = Field(16, ge=1, description="per batch, shared by its boxes at random")
    imaging: ImagingRanges = ImagingRanges()
    seed: int = 0

    @model_validator(mode="after")
    def _even(self) -> SubtomogramConfig:
        if self.edge_vox % 2:
            raise ValueError(f"box_vox + 2 margin_vox = {self.edge_vox} must be even")
        return self

    @property
    def summary(self) -> str:
        """One line for a model card."""
        return f"{self.phantoms} procedural phantoms in boxes of {self.box_vox} voxels of {self.voxel_size:g} A"

    @property
    def edge_vox(self) -> int:
        """Edge of the imaged box, margin included."""
        return self.box_vox + 2 * self.margin_vox


@dataclass(frozen=True, eq=False)
class SubtomogramPool:
    """Everything boxes are made of.

    Attributes
    ----------
    templates
        One per class, on a fine grid.
    membranes, beads
        (n, n, n) densities that boxes are cut from.
    power
        Mean radial power spectrum of the templates.
    particle_variance
        Median variance of clean density inside dilated masks, over the templates: one noise level fits all classes, so
        that brightness stays a hint.
    """

    templates: tuple[FineTemplate, ...]
    membranes: tuple[Tensor, ...]
    membrane_voxels: tuple[npt.NDArray[np.int64], ...]
    beads: tuple[Tensor, ...]
    power: Tensor
    particle_variance: float

    @property
    def classes(self) -> int:
        """Number of labels: templates, then the nuisances."""
        return len(self.templates) + len(NUISANCES)


def build_pool(config: SubtomogramConfig, structures: Sequence[Template] = ()) -> SubtomogramPool:
    """Make ``config.phantoms`` phantoms (80-4000 kDa) and add ``structures`` as further classes.

    Parameters
    ----------
    structures
        Templates at ``config.voxel_size / 2``.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    generator = np.random.default_rng([config.seed, 1])
    fine, resolution = config.voxel_size / OVERSAMPLING, RESOLUTION_PER_VOXEL * config.voxel_size
    specs = [random_spec(generator, mass_range_kda=config.mass_range_kda) for _ in range(config.phantoms)]
    templates = [fine_template(phantom(spec, fine, resolution=resolution), config.voxel_size) for spec in specs]
    templates += [fine_template(template, config.voxel_size) for template in structures]
    if len(templates) < 2:
        raise InputError("contrastive training needs at least two classes; raise data.phantoms")
    solids = [vesicle(generator, config.voxel_size, (120, 120, 120)) for _ in range(6)]
    beads = [gold_bead(generator, config.voxel_size) for _ in range(6)]
    samples = [_centred(render(t, generator, np.zeros(3)), config.edge_vox) for t in templates[:64]]
    return SubtomogramPool(
        templates=tuple(templates),
        membranes=tuple(torch.from_numpy(solid.density) for solid in solids),
        membrane_voxels=tuple(np.argwhere(solid.mask) for solid in solids),
        beads=tuple(torch.from_numpy(bead.density) for bead in beads),
        power=radial_power(torch.stack(samples)),
        particle_variance=float(np.median([_inside_variance(sample) for sample in samples])),
    )


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
    chosen = generator.choice(len(pool.templates), classes - nuisances, replace=False)
    others = len(pool.templates) + generator.choice(len(NUISANCES), nuisances, replace=False)
    labels = np.repeat(np.concatenate([chosen, others]), views)
    return {"input": draw_boxes(pool, config, labels, generator)[:, None], "label": torch.from_numpy(labels)}


def draw_box_pairs(
    pool: SubtomogramPool,
    config: SubtomogramConfig,
    augmentation: AugmentConfig,
    generator: np.random.Generator,
    *,
    batch: int,
) -> Batch:
    """Draw two views ``view_a``, ``view_b`` (b, 1, box, box, box) of each of ``batch`` particles."""
    labels = generator.integers(len(pool.templates), size=batch)
    boxes = augment(draw_boxes(pool, config, np.tile(labels, 2), generator), augmentation, generator)
    return {"view_a": boxes[:batch, None], "view_b": boxes[batch:, None]}


def draw_boxes(
    pool: SubtomogramPool, config: SubtomogramConfig, labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> Tensor:
    """(n, box, box, box) float32 boxes of the given classes, as cut from a prepared tomogram."""
    edge, count = config.edge_vox, len(labels)
    density = _arranged(pool, config, labels, generator)
    fill = torch.from_numpy(generator.uniform(*config.fill, size=count).astype(np.float32))
    drawn = draw_microscopes(
        min(config.microscopes, count), (edge, edge, edge), config.voxel_size, config.imaging, generator
    )
    which = generator.integers(len(drawn), size=count)
    particle = (transmitted(drawn.signal, pool.power) * pool.particle_variance)[torch.from_numpy(which)]
    # a tomogram filled to a share f has the mean f and about the variance f of its particles
    noisy = image(
        density - fill[:, None, None, None],
        drawn.of(which),
        particle_variance=particle,
        volume_variance=fill * particle,
        generator=generator,
    )
    inner = slice(config.margin_vox, config.margin_vox + config.box_vox)
    return noisy[:, inner, inner, inner].contiguous()


def _arranged(
    pool: SubtomogramPool, config: SubtomogramConfig, labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> Tensor:
    """(n, edge, edge, edge) clean boxes: the particle near the middle, neighbours around it."""
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
    for box, label in zip(boxes, labels, strict=True):
        own = pool.templates[int(label)].radius_vox if label < len(pool.templates) else generator.uniform(4, 10)
        for _ in range(int(generator.integers(config.neighbours + 1)) if rendered else 0):
            # neighbours are other particles of the batch, at their orientation: costs a copy, not a rotation
            cube, radius = rendered[int(generator.integers(len(rendered)))]
            distance = own + radius + generator.exponential(2.0) - 0.15 * min(own, radius)
            paste(box, cube, whole + _on_sphere(distance, generator))
        if label < len(pool.templates) and generator.random() < config.membrane_probability:
            _paste_membrane(box, pool, whole + _on_sphere(own + 3.0, generator), generator)
    return boxes


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


def _centred(cube: Tensor, edge: int) -> Tensor:
    box = torch.zeros((edge, edge, edge))
    paste(box, cube, np.full(3, edge // 2))
    return box


def _inside_variance(box: Tensor) -> float:
    mask = (box > 0.3 * box.max()).float()[None, None]
    dilated = torch.nn.functional.max_pool3d(mask, 3, 1, 1)[0, 0] > 0
    return float(box[dilated].var())
