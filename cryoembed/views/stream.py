"""Simulated crops without end, as a torch data set: item ``n`` depends on the settings and ``n`` alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import floor

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from cryoembed.simulate.dataset import DatasetConfig, shared_templates, simulate_sample
from cryoembed.simulate.density.template import Template
from cryoembed.views.rolling import Rolling, one_thread
from cryoembed.views.scene_crops import Crops
from cryoembed.views.scenes import CleanScene, SceneConfig, numbered_scene, scene_of
from cryoembed.views.structures import check_sample

EVERY = 64  # items between two new scenes; making one takes as long as imaging some 30 crops of 64^3


class SimulatedCrops(IterableDataset[dict[str, Tensor]]):
    """Endless crops of the samples that `simulate` would make, each seen by a microscope of its own; nothing on disk.

    ::

        sample = load_config(DatasetConfig, Path("configs/simulate_training.yaml"))
        crops = SimulatedCrops(sample, SceneConfig(scenes=4), batch=4)
        for batch in DataLoader(crops, batch_size=None, num_workers=2):
            loss = mse_loss(network(batch["input"][:, None])[:, 0], batch["clean"])
            ...

    Every item is a dict of float32 tensors: ``input`` (noisy, bright particles, s.d. 1) and its truth ``clean``,
    ``distance``, ``boundary``, ``foreground``, ``classes``, ``semantic_distance`` and ``inside`` (`CleanScene`). With
    W workers of a `DataLoader` worker w makes the items w, w + W, ..., so that without automatic batching
    (``batch_size=None``) they come in the order of one worker, the same to the last bit. Each worker makes all scenes
    of the window for itself: more workers speed up the imaging only.

    Parameters
    ----------
    sample
        What the samples hold. Its own imaging is not used: ``crops.imaging`` draws microscopes instead.
    crops
        Crop size and microscopes. ``scenes`` samples are in the window at a time, and the oldest gives way to a new one
        every ``refresh_every`` items (0: 64).
    batch
        Crops per item, as the first axis; None: one, without that axis.
    start
        Number of the first item, to go on where a stopped training was.

    Raises
    ------
    ValueError
        If voxel sizes differ, or the samples are smaller than a crop with its margin.
    InputError
        If a structure or phantom is not of the training split.
    """

    def __init__(self, sample: DatasetConfig, crops: SceneConfig, *, batch: int | None = None, start: int = 0) -> None:
        super().__init__()
        check_crops_fit(crops, sample)
        check_sample(sample)
        self.sample, self.crops, self.batch, self.start = endless(sample), crops, batch, start

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield this worker's items, without end."""
        worker = get_worker_info()
        number, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        make = partial(simulated_scene, self.crops, self.sample)
        # workers are daemons, which may not have processes of their own
        with Rolling(make, self.crops.scenes, self.crops.refresh_every or EVERY, processes=0) as window:
            number += self.start
            while True:
                yield self._item(window, number)
                number += step

    def _item(self, window: Rolling[CleanScene], number: int) -> dict[str, Tensor]:
        scenes = window.at(number)
        generator = np.random.default_rng([self.crops.seed, 3, number])
        with one_thread():
            crops = Crops(scenes, self.batch or 1, self.crops, generator)
            item = {"input": crops.imaged(generator), **crops.targets()}
        return item if self.batch is not None else {name: values[0] for name, values in item.items()}


def endless(sample: DatasetConfig) -> DatasetConfig:
    """The settings of models 0, 1, 2 ... without end: all for training, whatever was reached of what was asked."""
    return sample.model_copy(update={"validation": 0, "test": 0, "allow_shortfall": True})


def check_crops_fit(crops: SceneConfig, sample: DatasetConfig) -> None:
    """Refuse crops of other voxels than the samples', or larger than they are (`ValueError`, for validators)."""
    if sample.voxel_size != crops.voxel_size:
        raise ValueError(f"stream.voxel_size {sample.voxel_size} differs from data.voxel_size {crops.voxel_size}")
    if min(sample.shape) < crops.crop_vox + 2 * crops.margin_vox:
        raise ValueError(f"stream.shape {sample.shape} is smaller than crop_vox + 2 margin_vox of data")


def simulated_scene(crops: SceneConfig, sample: DatasetConfig, index: int) -> CleanScene:
    """The sample of model ``index``, ready for cropping: a function of the settings and its number only.

    ``crops.packed_share`` of the scenes, evenly spread, are packed from phantoms instead, as they are without a stream:
    particles on their own, some of them thin, where nothing else is thin.
    """
    if floor((index + 1) * crops.packed_share) > floor(index * crops.packed_share):
        return numbered_scene(crops, (), index)
    key = sample.model_dump_json()
    if key not in _species:
        _species.clear()
        _species[key] = shared_templates(sample)
    return scene_of(simulate_sample(sample, index, _species[key], split="train"), crops)


_species: dict[str, list[Template]] = {}  # of the stream that this process makes samples of
