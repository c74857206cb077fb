"""A store of two tomograms with planted cubes and crosses, made through the real tomogram files and a tiny encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cryoembed.io.mrc import read_tomogram, write_mrc
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, save_weights
from cryoembed.models.config import BackboneConfig, ModelCard, SubtomogramNetworkConfig
from cryoembed.particles import Particles
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.embedding import embed_positions, store_key
from cryoembed.store import EmbeddingStore, describe_source

VOXEL = 10.0
BOX = 16
ORIGIN = {"TS_1": (720.0, 960.0, 960.0), "TS_2": (0.0, 0.0, 0.0)}


@dataclass(frozen=True)
class Toy:
    """The store, the truth of every particle, and the files behind it."""

    store: EmbeddingStore
    truth: Particles  # label: cube | cross
    weights: Path
    folder: Path


def make(folder: Path, *, mask: str = "none", flatten: bool = False) -> Toy:
    weights = folder / "encoder.safetensors"
    card = ModelCard(
        name="toy",
        network=SubtomogramNetworkConfig(
            backbone=BackboneConfig(width=8, blocks=(1, 1), stem_kernel=3), embedding_dim=16, box_vox=BOX, mask=mask
        ),
        input=InputConfig(voxel_size=VOXEL, sample_stride=1, flatten=flatten),
    )
    torch.manual_seed(0)
    model_hash = save_weights(weights, build(card.network), card)
    store = EmbeddingStore.create(folder / "store", store_key(card, model_hash), weights=str(weights))
    encoder = load_weights(weights)
    parts = []
    for seed, name in enumerate(ORIGIN):
        volume, instances, centres, labels = _scene(seed)
        path = folder / f"{name}.mrc"
        write_mrc(path, -volume, VOXEL)  # particles dark, as tomograms are
        tomogram = read_tomogram(path, origin=ORIGIN[name])
        picks = Particles.from_arrays(
            name,
            tomogram.to_angstrom(centres),
            instance=np.arange(1, len(centres) + 1),
            volume=np.full(len(centres), 2e5),
        )
        prepared = prepare(tomogram, card.input, contrast="dark").tomogram
        vectors = embed_positions(encoder.module, store.key, prepared, picks.positions_zyx, instances=instances)
        source = describe_source(tomogram, path, contrast="dark", contrast_reason="toy")
        store.add(name, vectors, picks, source=source, instances=instances if mask != "none" else None)
        parts.append(picks.with_columns(label=labels))
    return Toy(store, Particles.concatenate(parts), weights, folder)


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """64 x 96 x 96 voxels, 24 particles on a grid, half of each shape."""
    generator = np.random.default_rng(seed)
    volume = generator.normal(scale=0.1, size=(40, 96, 96)).astype(np.float32)
    instances = np.zeros(volume.shape, dtype=np.int32)
    centres = np.array([[z, y, x] for z in (10, 29) for y in (12, 36, 60, 84) for x in (16, 48, 80)])
    labels = []
    for number, (z, y, x) in enumerate(centres):
        shape = "cube" if generator.random() < 0.5 else "cross"
        labels.append(shape)
        box = volume[z - 5 : z + 6, y - 5 : y + 6, x - 5 : x + 6]
        inside = np.zeros((11, 11, 11), dtype=bool)
        if shape == "cube":
            inside[2:9, 2:9, 2:9] = True
        else:
            inside[4:7, 4:7, :] = inside[4:7, :, 4:7] = inside[:, 4:7, 4:7] = True
        box[inside] += 1
        instances[z - 5 : z + 6, y - 5 : y + 6, x - 5 : x + 6][inside] = number + 1
    return volume, instances, centres.astype(float), labels
