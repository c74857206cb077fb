"""What draws the batches of each pretraining method, with real tomograms beside the simulated data where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cryoembed.io.mrc import read_tomogram
from cryoembed.io.scratch import scratch_folder
from cryoembed.models.config import MaskedAutoencoderConfig, VoxelNetworkConfig
from cryoembed.models.receptive import total_stride
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.pretrain_config import PretrainConfig
from cryoembed.recipes.training_data import scene_source
from cryoembed.simulate.density.structure_spec import expand
from cryoembed.training.draws import Batch, Draw
from cryoembed.views.dense import draw_view_pairs
from cryoembed.views.masking import draw_masked
from cryoembed.views.pool import (
    NUISANCES,
    RESOLUTION_PER_VOXEL,
    RollingPool,
    SubtomogramConfig,
    SubtomogramPool,
    build_pool,
)
from cryoembed.views.real import RealConfig, RealVolume, draw_real_boxes, draw_real_windows, real_volume
from cryoembed.views.rendering import OVERSAMPLING
from cryoembed.views.rolling import Fixed
from cryoembed.views.scenes import SceneConfig
from cryoembed.views.structures import load_structures
from cryoembed.views.subtomograms import draw_box_pairs, draw_classes, draw_triplets

Volumes = list[RealVolume]


def class_count(config: PretrainConfig) -> int:
    """Number of labels of the boxes that `drawing` gives: phantoms, structures, nuisances."""
    assert isinstance(config.data, SubtomogramConfig)  # checked by the config
    structures = [one for spec in config.structures for one in expand(spec, config.structure_folder)]
    return config.data.phantoms + len(structures) + len(NUISANCES)


class Drawing(NamedTuple):
    """What draws batches, and what the first batch of boxes is made of (None where windows are drawn)."""

    draw: Draw
    pool: SubtomogramPool | None


@contextmanager
def drawing(config: PretrainConfig, out: Path) -> Iterator[Drawing]:
    """Yield what draws batches; end the processes that make data ahead and remove prepared tomograms afterwards."""
    with _real_volumes(config, out) as real:
        if isinstance(config.data, SceneConfig):
            with _windows(config.data, config, real) as draw:
                yield Drawing(draw, None)
        else:
            with _boxes(config.data, config) as pool:
                yield Drawing(_box_draw(config.data, config, pool.at, real), pool.at(0))


@contextmanager
def _windows(data: SceneConfig, config: PretrainConfig, real: Volumes) -> Iterator[Draw]:
    assert isinstance(config.network, VoxelNetworkConfig)  # checked by the config
    stride = total_stride(config.network)
    with scene_source(
        data,
        dataset=config.dataset,
        stream=config.stream,
        structures=config.structures,
        inputs=config.input,
        composers=config.train.composers,
        held_back=config.held_back,
    ) as scenes:

        def draw(generator: np.random.Generator, number: int) -> Batch:
            batch = draw_view_pairs(
                scenes.at(number),
                data,
                config.augment,
                generator,
                batch=config.batch,
                window_vox=config.window_vox,
                min_overlap=config.min_overlap,
                stride=stride,
                share=config.share,
                warp=config.warp,
            )
            if config.real is None:
                return batch
            more = draw_real_windows(
                real,
                config.real,
                generator,
                pairs=config.real.count(config.batch),
                crop_vox=data.crop_vox,
                window_vox=config.window_vox,
                min_overlap=config.min_overlap,
                stride=stride,
                affine=config.warp.active,
            )
            return _joined(batch, more)

        yield draw


def _box_draw(
    data: SubtomogramConfig, config: PretrainConfig, pool_at: Callable[[int], SubtomogramPool], real: Volumes
) -> Draw:
    """A new method that sees boxes gets its case here."""

    def simulated(generator: np.random.Generator, number: int) -> Batch:
        pool = pool_at(number)
        match config.method:
            case "contrastive":
                return draw_classes(pool, data, generator, classes=config.batch, views=config.views)
            case "refine":
                return draw_triplets(pool, data, generator, batch=config.batch)
            case "mae":
                assert isinstance(config.network, MaskedAutoencoderConfig)  # checked by the config
                return draw_masked(
                    pool,
                    data,
                    generator,
                    batch=config.batch,
                    patches=config.network.patches,
                    mask_ratio=config.mask_ratio,
                )
            case _:
                return draw_box_pairs(
                    pool,
                    data,
                    config.augment,
                    generator,
                    batch=config.batch,
                    share=config.share,
                    distinct=config.method == "simclr",
                )

    def draw(generator: np.random.Generator, number: int) -> Batch:
        batch = simulated(generator, number)
        if config.real is None:
            return batch
        labelled = "label" in batch
        pairs = config.real.count(len(batch["input"]) // 2 if labelled else config.batch)
        a, b = draw_real_boxes(real, config.real, generator, pairs=pairs, box_vox=data.box_vox)
        # beside labels they get a loss of their own; without labels all views are alike
        return batch | {"real_a": a, "real_b": b} if labelled else _joined(batch, {"view_a": a, "view_b": b})

    return draw


def _joined(one: Batch, other: Batch) -> Batch:
    return {name: torch.cat([value, other[name]]) for name, value in one.items()}


def _boxes(data: SubtomogramConfig, config: PretrainConfig) -> Fixed[SubtomogramPool] | RollingPool:
    fine, resolution = data.voxel_size / OVERSAMPLING, RESOLUTION_PER_VOXEL * data.voxel_size
    structures = load_structures(config.structures, fine, resolution=resolution, folder=config.structure_folder)
    if data.refresh_every:
        return RollingPool(data, structures, processes=config.train.composers)
    return Fixed(build_pool(data, structures))


@contextmanager
def _real_volumes(config: PretrainConfig, out: Path) -> Iterator[Volumes]:
    """Yield the prepared real tomograms, memory-mapped in a folder that goes away."""
    if config.real is None:
        yield []
        return
    edge = config.data.crop_vox if isinstance(config.data, SceneConfig) else config.data.box_vox
    with scratch_folder(out) as scratch:
        sets = [*((path,) for path in config.real.tomograms), *config.real.halves]
        yield [_real_volume(paths, config.real, config, scratch / str(i), edge) for i, paths in enumerate(sets)]


def _real_volume(
    paths: tuple[Path, ...], real: RealConfig, config: PretrainConfig, scratch: Path, edge_vox: int
) -> RealVolume:
    views, contrast = [], real.contrast
    for index, path in enumerate(paths):
        tomogram = read_tomogram(path, voxel_size=real.voxel_size)
        prepared = prepare(tomogram, config.input, contrast=contrast, scratch=scratch / str(index))
        contrast = prepared.record.contrast  # halves of a tomogram have one contrast, however noisy
        views.append(prepared.tomogram.data)
    return real_volume(paths[0].name, views, real, edge_vox=edge_vox)
