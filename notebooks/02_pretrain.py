# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Pretrain: a network that knows what looks alike
#
# A picker for any particle must not be trained on *the* particles. What it can learn beforehand is what does **not**
# matter: orientation, exact position, neighbours, missing wedge, CTF and noise. This notebook shows the two ways to
# teach that, in small: an hour becomes half a minute, a width of 16 becomes 8, and the noise is mild. The weights that
# ship come from the same recipes with `configs/pretrain_subtomogram_small.yaml` and `configs/train_voxel_small.yaml`.

# %%
import json
import logging
from pathlib import Path

import numpy as np
import torch

from cryoembed.evaluate.retrieval import mean_average_precision
from cryoembed.infer.vectors import embed_boxes
from cryoembed.mining.reduce import pca
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights
from cryoembed.models.config import BackboneConfig, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.plot.embeddings import embedding_scatter, medoid_montage
from cryoembed.plot.training import training_figure
from cryoembed.recipes.pretrain import PretrainConfig, pretrain
from cryoembed.training.config import TrainConfig
from cryoembed.views.imaging import ImagingRanges
from cryoembed.views.scenes import SceneConfig
from cryoembed.views.subtomograms import SubtomogramConfig, build_pool, draw_classes

logging.disable(logging.WARNING)  # the closing lines say enough
DATA = Path("data")

# %% [markdown]
# ## Subtomograms: contrastive learning
#
# Boxes are drawn on the fly from procedural phantoms. Below: four boxes of each of four phantoms, as the network sees
# them. The loss (supervised contrastive: Khosla et al. 2020) pulls boxes of one phantom together and pushes the others
# away; the phantoms themselves are never met again.

# %%
mild = ImagingRanges(snr=(1.0, 5.0), noise_rise=(0.0, 1.0), band_limit_probability=0.0)
boxes = SubtomogramConfig(box_vox=24, phantoms=100, neighbours=1, imaging=mild)
pool = build_pool(boxes)
views = draw_classes(
    pool, boxes.model_copy(update={"nuisance_share": 0.0}), np.random.default_rng(3), classes=4, views=4
)
names = [f"phantom {label}" for label in views["label"].tolist()]
medoid_montage(views["input"][:, 0].numpy(), names, columns=8)

# %%
contrastive = PretrainConfig(
    name="tiny_contrastive",
    method="contrastive",
    network=SubtomogramNetworkConfig(backbone=BackboneConfig(width=8, stem_stride=2), embedding_dim=64, box_vox=24),
    data=boxes,
    batch=16,  # phantoms per step
    views=4,  # boxes of each
    temperature=0.2,
    train=TrainConfig(steps=80, learning_rate=3e-3, warmup_steps=10, gradient_clip=5.0, log_every=5),
    out=DATA / "tiny_contrastive",
)
print(pretrain(contrastive))

# %% [markdown]
# The log has a line per five steps. Beside the loss watch the **spread**: the standard deviation of the normalised
# vectors, 1 where they fill the sphere and 0 where the network answers the same to everything. A siamese network can
# reach a splendid loss by collapsing so; the spread tells.


# %%
def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


training_figure(log_of(contrastive.out), panels=[["loss"], ["purity"], ["spread"]], title="contrastive, 80 steps")

# %% [markdown]
# ## Has it learned anything?
#
# Twelve phantoms it never saw, eight boxes each. Every box asks for its like: the mean average precision is 1 if its
# own seven come first each time. An untrained network of the same shape is the yardstick.

# %%
unseen = boxes.model_copy(update={"phantoms": 12, "nuisance_share": 0.0, "seed": 99})
exam = draw_classes(build_pool(unseen), unseen, np.random.default_rng(0), classes=12, views=8)
labels = np.array([f"phantom {label}" for label in exam["label"].tolist()])


def vectors_of(network: torch.nn.Module) -> np.ndarray:
    return embed_boxes(network.eval(), exam["input"][:, 0].numpy(), device="cpu", precision="fp32")


def retrieval(vectors: np.ndarray) -> float:
    rows = np.arange(len(vectors))
    return mean_average_precision(vectors @ vectors.T, labels, labels, query_rows=rows).mean_average_precision


torch.manual_seed(0)
trained = vectors_of(load_weights(contrastive.out / "weights.safetensors").module)
untrained = vectors_of(build(contrastive.network))
print(f"mean average precision: untrained {retrieval(untrained):.2f}, after 80 steps {retrieval(trained):.2f}")

# %%
embedding_scatter(
    pca(trained).coordinates, colour=labels, axes=("PCA 1", "PCA 2"), title="unseen phantoms, trained network"
)

# %% [markdown]
# ## Voxels: DenseSimSiam
#
# The second network gives every *voxel* a vector. Here nobody says what is what: two windows of one crop overlap, each
# is imaged anew, and voxels of the overlap must agree between the two (CryoSiam; the `dense` part of the loss), as must
# the windows as wholes (`global`) and a coarser level of the pyramid (`level`). The losses are negative cosines: -1 is
# perfect agreement.

# %%
dense = PretrainConfig(
    name="tiny_dense",
    method="dense_simsiam",
    network=VoxelNetworkConfig(
        backbone=BackboneConfig(width=8), pyramid_channels=16, global_dim=32, voxel_dim=16, head_channels=8
    ),
    data=SceneConfig(scenes=2, shape_zyx=(48, 96, 96), species=4, crop_vox=40, margin_vox=4),
    batch=2,
    window_vox=32,
    train=TrainConfig(steps=60, optimizer="sgd", learning_rate=0.05, warmup_steps=5, gradient_clip=5.0, log_every=3),
    out=DATA / "tiny_dense",
)
print(pretrain(dense))

# %%
training_figure(
    log_of(dense.out), panels=[["loss", "global", "dense", "level"], ["spread"]], title="DenseSimSiam, 60 steps"
)

# %% [markdown]
# The voxel network that ships goes one step further: on the same crops it learns to denoise and to outline particles
# (`cryoembed train`). The next notebook puts both networks to work.
