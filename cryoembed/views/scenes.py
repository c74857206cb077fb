"""Clean scenes kept in memory, with what the heads learn from them; `scene_crops` cuts and images them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.semantic import IGNORED
from cryoembed.simulate.density.phantoms import random_phantom
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.scene.pack import pack
from cryoembed.simulate.scene.truth import Scene
from cryoembed.views.imaging import ImagingRanges, Range, low_pass, radial_power
from cryoembed.views.targets import instance_targets, semantic_classes, semantic_distance

Ids = npt.NDArray[np.int32]
MASK_DILATION_VOX = 1


class SceneConfig(Config):
    """What the scenes hold and how crops are taken from them."""

    later: ClassVar[tuple[str, ...]] = ("flatten",)

    kind: Literal["scenes"] = "scenes"
    voxel_size: float = Field(10.0, gt=0, description="A")
    scenes: int = Field(16, ge=1)
    shape_zyx: tuple[int, int, int] = (96, 160, 160)
    species: int = Field(12, ge=1, description="phantoms per scene, new ones for each")
    mass_range_kda: Range = (80.0, 4000.0)
    crowding: Range = Field((0.01, 0.3), description="log-uniform")
    vesicles: int = Field(2, ge=0, description="at most, per scene")
    fiducials: int = Field(3, ge=0, description="at most, per scene")
    structure_share: float = Field(0.4, ge=0, le=1, description="of a scene's species, where structures are given")
    target_resolution: float = Field(25.0, gt=0, description="A; low-pass of the denoising target")
    crop_vox: int = Field(64, ge=8)
    margin_vox: int = Field(8, ge=0, description="imaged around a crop, then cut off with its wrapped-around streaks")
    refresh_every: int = Field(
        0, ge=0, description="batches after which the oldest scene gives way to a new one; 0: never"
    )
    balanced_share: float = Field(
        0.0, ge=0, le=1, description="of the crops: centred near a voxel of a class drawn from those that a scene has"
    )
    packed_share: float = Field(
        0.0, ge=0, lt=1, description="of the scenes of a stream: packed from species above instead, no filaments near"
    )
    imaging: ImagingRanges = ImagingRanges()
    flatten: bool = Field(False, description="as cut from flattened tomograms (input.flatten); before augment")
    seed: int = 0

    @model_validator(mode="after")
    def _crop_fits(self) -> SceneConfig:
        needed = self.crop_vox + 2 * self.margin_vox
        if needed > min(self.shape_zyx):
            raise ValueError(f"crop_vox + 2 margin_vox = {needed} does not fit into scenes of {self.shape_zyx}")
        if needed % 2:
            raise ValueError(f"crop_vox + 2 margin_vox = {needed} must be even")
        return self

    @property
    def summary(self) -> str:
        """One line for a model card."""
        rolling = f", a new one every {self.refresh_every} batches" if self.refresh_every else ""
        return f"{self.scenes} scenes{rolling}, of {self.species} procedural phantoms each at {self.voxel_size:g} A"


@dataclass(frozen=True, eq=False)
class CleanScene:
    """A scene ready for cropping; volumes are (z, y, x) of equal shape.

    Attributes
    ----------
    density
        float16, before imaging; mean taken off.
    target
        float16: density low-passed, tails clipped, mean 0, s.d. 1; what denoising learns.
    distance, boundary, foreground
        float16, bool, bool: of `instance_targets`; vesicles and gold are background.
    classes
        uint8: `SEMANTIC_CLASSES` by number, `IGNORED` (gold, or all of it where the truth is not known).
    semantic_distance
        float16: of `targets.semantic_distance`.
    inside
        uint8: 1 in the sample (in the cell, where the sample is one; else in the lamella or slab), 0 outside, `IGNORED`
        where that is not known. Outside, the density is that of ice, 0, as it is between particles: what tells inside
        from outside is what the sample holds, its particles and the mean and grain of its cytosol. Noise is as strong
        on both sides, because a back-projection spreads the noise of every image over the whole volume; the step from
        ice to vacuum is left out, because flat faces lie in the missing wedge, where no reconstruction shows them.
    power
        Radial power spectrum of ``density``.
    volume_variance, particle_variance
        Of ``density``: over the whole scene, and inside the dilated masks of particles.
    recorded
        float16 or None: a reconstruction that came with the scene, prepared as a network's input.
    """

    density: npt.NDArray[np.float16]
    target: npt.NDArray[np.float16]
    distance: npt.NDArray[np.float16]
    boundary: npt.NDArray[np.bool_]
    foreground: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint8]
    semantic_distance: npt.NDArray[np.float16]
    inside: npt.NDArray[np.uint8]
    power: Tensor
    volume_variance: float
    particle_variance: float
    recorded: npt.NDArray[np.float16] | None = None


def build_scenes(config: SceneConfig, structures: Sequence[Template] = ()) -> list[CleanScene]:
    """Pack ``config.scenes`` scenes of new phantoms (and some of ``structures``), with vesicles and gold."""
    return [numbered_scene(config, structures, index) for index in range(config.scenes)]


def numbered_scene(config: SceneConfig, structures: Sequence[Template], index: int) -> CleanScene:
    """Scene ``index`` of the endless sequence: a function of the settings and its number only."""
    return build_scene(config, np.random.default_rng([config.seed, index]), structures)


def build_scene(config: SceneConfig, generator: np.random.Generator, structures: Sequence[Template] = ()) -> CleanScene:
    """Pack one scene."""
    wanted = min(len(structures), round(config.structure_share * config.species))
    chosen = [structures[i] for i in generator.choice(len(structures), wanted, replace=False)] if wanted else []
    templates = {template.name: template for template in chosen}
    while len(templates) < config.species:
        new = random_phantom(generator, config.voxel_size, mass_range_kda=config.mass_range_kda)
        templates[new.name] = new
    scene = pack(
        list(templates.values()),
        config.shape_zyx,
        config.voxel_size,
        generator,
        crowding=float(np.exp(generator.uniform(*np.log(config.crowding)))),
        vesicles=int(generator.integers(config.vesicles + 1)),
        fiducials=int(generator.integers(config.fiducials + 1)),
    )
    return scene_of(scene, config)


def scene_of(sample: Scene, config: SceneConfig) -> CleanScene:
    """A simulated sample as a scene; only macromolecules are instances."""
    ids = np.where(sample.macromolecule_mask(), sample.occupancy_mask, 0).astype(np.int32)
    classes = semantic_classes(sample.class_mask, sample.classes)
    return clean_scene(sample.density, ids, config, classes=classes, inside=sample.lamella_mask.astype(np.uint8))


def clean_scene(
    density: npt.NDArray[np.float32],
    ids: Ids,
    config: SceneConfig,
    *,
    classes: npt.NDArray[np.uint8] | None = None,
    inside: npt.NDArray[np.uint8] | None = None,
    recorded: npt.NDArray[np.float32] | None = None,
) -> CleanScene:
    """Make targets and statistics of a density and its instance ids (0 = background).

    Parameters
    ----------
    classes, inside, recorded
        See `CleanScene`; classes or inside None: not known, nothing learns from them.

    Raises
    ------
    InputError
        If the volumes differ in shape, are smaller than a crop, or the density is constant.
    """
    others = (ids, *(volume for volume in (classes, inside, recorded) if volume is not None))
    if any(volume.shape != density.shape for volume in others):
        raise InputError(
            f"scene: the density {density.shape} and its truth or reconstruction differ in shape: "
            f"{', '.join(str(volume.shape) for volume in others)}"
        )
    if min(density.shape) < config.crop_vox + 2 * config.margin_vox:
        raise InputError(f"scene of {density.shape} voxels is smaller than a crop with its margin; lower data.crop_vox")
    if not float(np.ptp(density)) > 0:
        raise InputError("scene: the density is constant, there is nothing to learn from")
    centred = torch.from_numpy(np.ascontiguousarray(density - density.mean(), dtype=np.float32))[None]
    targets = instance_targets(ids)
    masked = _dilated(targets.foreground)
    volume_variance = float(centred.var())
    particle_variance = float(centred[0][torch.from_numpy(masked)].var()) if masked.any() else volume_variance
    unknown = np.full(density.shape, IGNORED, dtype=np.uint8)
    classes = unknown if classes is None else classes
    return CleanScene(
        density=centred[0].numpy().astype(np.float16),
        target=_denoising_target(centred, config).astype(np.float16),
        distance=targets.distance.astype(np.float16),
        boundary=targets.boundary,
        foreground=targets.foreground,
        classes=classes,
        semantic_distance=semantic_distance(classes, config.voxel_size).astype(np.float16),
        inside=unknown if inside is None else inside,
        power=radial_power(centred),
        volume_variance=volume_variance,
        particle_variance=particle_variance,
        recorded=None if recorded is None else recorded.astype(np.float16),
    )


def _denoising_target(centred: Tensor, config: SceneConfig) -> npt.NDArray[np.float32]:
    smooth = low_pass(centred, config.voxel_size / config.target_resolution)[0].numpy()
    # gold is ten times as dense as protein; unclipped it would be most of the squared error
    low, high = np.percentile(smooth[::2, ::2, ::2], (0.1, 99.9))
    clipped = np.clip(smooth, low, high)
    return np.asarray((clipped - clipped.mean()) / max(float(clipped.std()), 1e-6), dtype=np.float32)


def _dilated(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, iterations=MASK_DILATION_VOX), dtype=np.bool_)
