"""Where dense training crops come from: clean scenes kept in memory, each crop imaged by a microscope of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

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
from cryoembed.views.imaging import (
    ImagingRanges,
    Microscopes,
    Range,
    draw_microscopes,
    image,
    low_pass,
    radial_power,
    transmitted,
)
from cryoembed.views.targets import instance_targets, semantic_classes, semantic_distance

Ids = npt.NDArray[np.int32]
MASK_DILATION_VOX = 1
TARGETS = ("distance", "boundary", "foreground", "classes", "semantic_distance", "inside")


class SceneConfig(Config):
    """What the scenes hold and how crops are taken from them."""

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
    imaging: ImagingRanges = ImagingRanges()
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


class Crops:
    """A batch of crops, cut and turned but not yet imaged; volumes are (n, z, y, x) with the margin around.

    ``imaged`` gives one noisy view of all of them; call it twice for two independent views.
    """

    def __init__(
        self, scenes: Sequence[CleanScene], count: int, config: SceneConfig, generator: np.random.Generator
    ) -> None:
        self.config = config
        self._scenes = [scenes[i] for i in generator.integers(len(scenes), size=count)]
        edge = config.crop_vox + 2 * config.margin_vox
        places = []
        for scene in self._scenes:
            start = [int(generator.integers(size - edge + 1)) for size in scene.density.shape]
            if config.balanced_share and generator.random() < config.balanced_share:
                start = _start_near_a_class(scene, start, config, generator)
            turn = _no_turn if scene.recorded is not None else _draw_turn(generator)
            places.append((tuple(slice(s, s + edge) for s in start), turn))
        self._places = places

    def microscopes(self, generator: np.random.Generator) -> Microscopes:
        """Draw a microscope for each crop."""
        edge = self.config.crop_vox + 2 * self.config.margin_vox
        return draw_microscopes(
            len(self._scenes), (edge, edge, edge), self.config.voxel_size, self.config.imaging, generator
        )

    def imaged(
        self,
        generator: np.random.Generator,
        *,
        microscopes: Microscopes | None = None,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """(n, crop, crop, crop) float32 network input.

        Parameters
        ----------
        microscopes
            Those to use; None draws new ones.
        change
            Made to the clean densities, margin included, before the microscope sees them. Recorded crops stay.
        """
        microscopes = self.microscopes(generator) if microscopes is None else microscopes
        passed = torch.cat(
            [transmitted(microscopes.signal[i : i + 1], scene.power) for i, scene in enumerate(self._scenes)]
        )
        noisy = image(
            self._cut("density") if change is None else change(self._cut("density")),
            microscopes,
            particle_variance=passed * torch.tensor([scene.particle_variance for scene in self._scenes]),
            volume_variance=passed * torch.tensor([scene.volume_variance for scene in self._scenes]),
            generator=generator,
        )
        for index, scene in enumerate(self._scenes):
            if scene.recorded is not None:
                noisy[index] = torch.from_numpy(scene.recorded[self._places[index][0]].astype(np.float32))
        return self._without_margin(noisy)

    def targets(self) -> dict[str, Tensor]:
        """``clean`` and `TARGETS`: (n, crop, crop, crop) float32."""
        names = {"clean": "target"} | {name: name for name in TARGETS}
        return {name: self._without_margin(self._cut(field)) for name, field in names.items()}

    def _cut(self, field: str) -> Tensor:
        parts = [
            turn(getattr(scene, field)[place]) for scene, (place, turn) in zip(self._scenes, self._places, strict=True)
        ]
        return torch.from_numpy(np.stack(parts).astype(np.float32))

    def _without_margin(self, volumes: Tensor) -> Tensor:
        inner = slice(self.config.margin_vox, self.config.margin_vox + self.config.crop_vox)
        return volumes[:, inner, inner, inner].contiguous()


def _start_near_a_class(
    scene: CleanScene, otherwise: list[int], config: SceneConfig, generator: np.random.Generator
) -> list[int]:
    """Where a crop starts in whose middle half lies a voxel of a class, each class of the scene being as likely."""
    margin = config.margin_vox  # what lies in it no crop shows
    classes = scene.classes[tuple(slice(margin, size - margin) for size in scene.classes.shape)]
    found = np.bincount(classes.ravel(), minlength=IGNORED + 1)[1:IGNORED]
    present = np.flatnonzero(found)
    if not len(present):
        return otherwise
    number = int(present[generator.integers(len(present))]) + 1
    voxels = np.flatnonzero(classes == number)
    centre = np.unravel_index(voxels[generator.integers(len(voxels))], classes.shape)
    reach = config.crop_vox // 4
    shift = generator.integers(-reach, reach + 1, size=3)
    wanted = np.asarray(centre) + shift - config.crop_vox // 2
    return [int(start) for start in np.clip(wanted, 0, np.array(classes.shape) - config.crop_vox)]


class _Turn:
    """One of the 48 symmetries of the cube; microscopes come afterwards, so the wedge stays where it belongs."""

    def __init__(self, axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
        self.axes, self.flips = axes, flips

    def __call__(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.flip(volume.transpose(self.axes), self.flips)


_no_turn = _Turn((0, 1, 2), ())


def _draw_turn(generator: np.random.Generator) -> _Turn:
    axes = tuple(int(axis) for axis in generator.permutation(3))
    return _Turn(axes, tuple(axis for axis in range(3) if generator.random() < 0.5))


def _denoising_target(centred: Tensor, config: SceneConfig) -> npt.NDArray[np.float32]:
    smooth = low_pass(centred, config.voxel_size / config.target_resolution)[0].numpy()
    # gold is ten times as dense as protein; unclipped it would be most of the squared error
    low, high = np.percentile(smooth[::2, ::2, ::2], (0.1, 99.9))
    clipped = np.clip(smooth, low, high)
    return np.asarray((clipped - clipped.mean()) / max(float(clipped.std()), 1e-6), dtype=np.float32)


def _dilated(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, iterations=MASK_DILATION_VOX), dtype=np.bool_)
