"""What training subtomograms are made of: phantoms and structures, each a class, with membranes and gold beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

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
from cryoembed.views.imaging import ImagingRanges, Range, radial_power
from cryoembed.views.masks import MaskShares
from cryoembed.views.rendering import OVERSAMPLING, FineTemplate, fine_template, paste, render
from cryoembed.views.rolling import Rolling

NUISANCES = ("background", "membrane", "gold")
SAMPLED = 64  # templates that set the scale
SIZE_LIMITS_KDA = (40.0, 200.0, 600.0, 1000.0)  # tiny, small, medium, big, very big (thesis, section 3.3, figure 9)
RESOLUTION_PER_VOXEL = 1.6  # A per A: makes a fine grid look like one averaged over coarse voxels


class SubtomogramConfig(Config):
    """What boxes hold and how they are imaged."""

    later: ClassVar[tuple[str, ...]] = ("flatten",)

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
    structure_share: float | None = Field(
        None, ge=0, le=1, description="of a batch's other classes: structures; null: as many as their number gives"
    )
    nuisance_share: float = Field(0.1, ge=0, lt=1, description="of a batch's classes: background, membrane, gold")
    fill: Range = Field((0.02, 0.2), description="occupied share of the tomogram a box stands for; sets the scale")
    microscopes: int = Field(16, ge=1, description="per batch, shared by its boxes at random")
    mask_shares: MaskShares = MaskShares()
    mask_error_vox: float = Field(2.0, ge=0, description="most by which a mask is too small or too large")
    refresh_every: int = Field(
        0, ge=0, description="batches after which the oldest phantom gives way to a new one; 0: never"
    )
    imaging: ImagingRanges = ImagingRanges()
    flatten: bool = Field(False, description="as cut from flattened tomograms (input.flatten); before augment")
    seed: int = 0

    @model_validator(mode="after")
    def _even(self) -> SubtomogramConfig:
        if self.edge_vox % 2:
            raise ValueError(f"box_vox + 2 margin_vox = {self.edge_vox} must be even")
        return self

    @property
    def summary(self) -> str:
        """One line for a model card."""
        rolling = f", a new one every {self.refresh_every} batches" if self.refresh_every else ""
        return (
            f"{self.phantoms} procedural phantoms{rolling}, in boxes of {self.box_vox} voxels of {self.voxel_size:g} A"
        )

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
    structures
        How many of the templates, the last ones, are structures.
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
    structures: int = 0

    @property
    def classes(self) -> int:
        """Number of labels: templates, then the nuisances."""
        return len(self.templates) + len(NUISANCES)

    @property
    def size_classes(self) -> npt.NDArray[np.int64]:
        """(templates,) class of mass of each, 0 (tiny) to 4 (very big)."""
        masses = [template.mass_kda for template in self.templates]
        return np.digitize(masses, SIZE_LIMITS_KDA).astype(np.int64)


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
    return replace(_pool_of(templates, config, generator), structures=len(structures))


def numbered_phantom(config: SubtomogramConfig, index: int) -> FineTemplate:
    """Phantom ``index`` of the endless sequence: a function of the settings and its number only."""
    generator = np.random.default_rng([config.seed, 2, index])
    spec = random_spec(generator, mass_range_kda=config.mass_range_kda)
    fine, resolution = config.voxel_size / OVERSAMPLING, RESOLUTION_PER_VOXEL * config.voxel_size
    return fine_template(phantom(spec, fine, resolution=resolution), config.voxel_size)


class RollingPool:
    """A pool whose phantoms are replaced one by one, while structures, membranes and gold stay.

    The scale of the boxes (``power``, ``particle_variance``) is that of the first phantoms of the sequence throughout.
    """

    def __init__(self, config: SubtomogramConfig, structures: Sequence[Template] = (), *, processes: int = 1) -> None:
        self._structures = tuple(fine_template(template, config.voxel_size) for template in structures)
        first = [numbered_phantom(config, index) for index in range(min(config.phantoms, SAMPLED))]
        self._base = _pool_of([*first, *self._structures], config, np.random.default_rng([config.seed, 1]))
        self._phantoms = Rolling(
            partial(numbered_phantom, config), config.phantoms, config.refresh_every, processes=processes
        )

    def at(self, number: int) -> SubtomogramPool:
        """What batch ``number`` is drawn from."""
        return replace(
            self._base, templates=(*self._phantoms.at(number), *self._structures), structures=len(self._structures)
        )

    def __enter__(self) -> RollingPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._phantoms.__exit__()


def clean_boxes(
    pool: SubtomogramPool, config: SubtomogramConfig, generator: np.random.Generator, *, turns: int
) -> Tensor:
    """(turns, templates, box, box, box) densities alone and centred, in random orientations."""

    def turned() -> Tensor:
        return torch.stack([_centred(render(one, generator, np.zeros(3)), config.box_vox) for one in pool.templates])

    return torch.stack([turned() for _ in range(turns)])


def _pool_of(
    templates: Sequence[FineTemplate], config: SubtomogramConfig, generator: np.random.Generator
) -> SubtomogramPool:
    if len(templates) < 2:
        raise InputError("contrastive training needs at least two classes; raise data.phantoms")
    solids = [vesicle(generator, config.voxel_size, (120, 120, 120)) for _ in range(6)]
    beads = [gold_bead(generator, config.voxel_size) for _ in range(6)]
    samples = [_centred(render(t, generator, np.zeros(3)), config.edge_vox) for t in templates[:SAMPLED]]
    return SubtomogramPool(
        templates=tuple(templates),
        membranes=tuple(torch.from_numpy(solid.density) for solid in solids),
        membrane_voxels=tuple(np.argwhere(solid.mask) for solid in solids),
        beads=tuple(torch.from_numpy(bead.density) for bead in beads),
        power=radial_power(torch.stack(samples)),
        particle_variance=float(np.median([_inside_variance(sample) for sample in samples])),
    )


def _centred(cube: Tensor, edge: int) -> Tensor:
    box = torch.zeros((edge, edge, edge))
    paste(box, cube, np.full(3, edge // 2))
    return box


def _inside_variance(box: Tensor) -> float:
    mask = (box > 0.3 * box.max()).float()[None, None]
    dilated = torch.nn.functional.max_pool3d(mask, 3, 1, 1)[0, 0] > 0
    return float(box[dilated].var())
