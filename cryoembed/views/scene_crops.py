"""Where dense training crops come from: cut from clean scenes, turned, each imaged by a microscope of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryoembed.semantic import IGNORED
from cryoembed.views.imaging import Microscopes, draw_microscopes, expected_power, flattened, image, transmitted
from cryoembed.views.scenes import CleanScene, SceneConfig

TARGETS = ("distance", "boundary", "foreground", "classes", "semantic_distance", "inside")


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
        variances = {
            name: passed * torch.tensor([getattr(scene, name) for scene in self._scenes])
            for name in ("particle_variance", "volume_variance")
        }
        density = self._cut("density") if change is None else change(self._cut("density"))
        noisy = image(density, microscopes, **variances, generator=generator)
        if self.config.flatten:
            power = torch.stack([scene.power for scene in self._scenes])
            noisy = flattened(noisy, expected_power(microscopes, power, **variances))
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
    """One of the 48 symmetries of the cube, mirror images too: no dense target depends on the hand.

    Microscopes come afterwards, so the wedge stays where it belongs.
    """

    def __init__(self, axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
        self.axes, self.flips = axes, flips

    def __call__(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.flip(volume.transpose(self.axes), self.flips)


_no_turn = _Turn((0, 1, 2), ())


def _draw_turn(generator: np.random.Generator) -> _Turn:
    axes = tuple(int(axis) for axis in generator.permutation(3))
    return _Turn(axes, tuple(axis for axis in range(3) if generator.random() < 0.5))
