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
# # 3. Index: from tomograms to a searchable store
#
# `cryoembed index` takes raw tomograms and asks nothing: it finds everything that looks like a particle, whatever it
# is, cuts it out, and gives it a vector. Vectors and positions go into an **EmbeddingStore** on disk with a FAISS
# **index** over all tomograms. From then on picking is searching, and needs no network run over volumes.
#
# The weights are the two that ship with the package: `voxel_small` finds, `subtomogram_small` describes. They were
# trained on other simulated particles than those in this data set.

# %%
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.config import load_config
from cryoembed.evaluate.distance import score_distance
from cryoembed.evaluate.match import assign
from cryoembed.evaluate.table import distance_rows, recall_rows
from cryoembed.instances.config import InstanceConfig
from cryoembed.io import read_particles, read_tomogram
from cryoembed.particles import Particles
from cryoembed.plot.embeddings import medoid_montage
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.find_instances import find_instances, load_voxel_model
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.store import EmbeddingStore
from cryoembed.store.index import EmbeddingIndex
from cryoembed.subtomograms import cut_boxes
from cryoembed.tomogram import Tomogram

logging.disable(logging.WARNING)  # the closing lines say enough
CONFIGS, DATA = Path("../configs"), Path("data")

# %% [markdown]
# ## The tomograms
#
# Those of notebook 1; made now if they are not there.

# %%
dataset = load_config(SimulateConfig, CONFIGS / "simulate_demo.yaml", flags={"models": 3, "out": DATA / "dataset"})
print(simulate(dataset))
models = [dataset.out / f"model_{number}" for number in range(dataset.models)]
volumes = {model.name: read_tomogram(model / "reconstruction.mrc") for model in models}
truth = Particles.concatenate([read_particles(model / "particles.parquet") for model in models])

# %% [markdown]
# ## What the voxel network sees
#
# First one tomogram by hand, to look inside. The network gives each voxel a denoised grey value, its distance to the
# edge of its particle, and the chances that it lies on a boundary and in a particle. Watershed and multicut turn these
# maps into **instances**. Rings: the particles' centres as found, and the truth.

# %%
name = "model_1"
found = find_instances(volumes[name], load_voxel_model("voxel_small"), InstanceConfig(), further_maps=("denoise",))
print(f"contrast: {found.prepared.record.contrast_reason}")
frame = found.prepared.tomogram


def panel(data: np.ndarray, title: str) -> Tomogram:
    return Tomogram(data, frame.voxel_size, title, frame.origin)


shuffled = np.random.default_rng(0).permutation(found.labels.max()) + 1  # neighbours get grey values far apart
instances = np.where(found.labels > 0, np.concatenate([[0], shuffled])[found.labels], -len(shuffled) // 4)
middle = frame.origin[0] + frame.size_angstrom[0] / 2
slice_figure(
    {
        "tomogram": volumes[name],
        "denoised": panel(found.maps["denoise"], "denoised"),
        "chance of a particle": panel(found.maps["foreground"], "foreground"),
        "instances": panel(instances, "instances"),
    },
    position=middle,
)

# %%
panels = {"found": panel(found.maps["denoise"], "denoised"), "truth": panel(found.maps["denoise"], "denoised")}
rings = {
    "found": [Overlay("found", found.particles, radius=80, within=60, colour="#D55E00")],
    "truth": [Overlay("truth", truth.of(name), radius=80, within=60)],
}
slice_figure(panels, position=middle, thickness=30, overlays=rings)

# %% [markdown]
# ## Index all of them
#
# The same as `cryoembed index data/dataset/model_*/reconstruction.mrc --out data/store`. A tomogram that the store
# holds already is skipped; one that is killed half way leaves no trace.

# %%
tomograms = tuple(model / "reconstruction.mrc" for model in models)
print(index(IndexConfig(tomograms=tomograms, out=DATA / "store")))

# %% [markdown]
# ## How many particles did it find?
#
# A true particle counts as found if an instance of its own lies within 60 Å. Nobody has told the network what to look
# for, so labels play no part yet.

# %%
store = EmbeddingStore.open(DATA / "store")
particles = store.particles()
score = score_distance(particles, truth, radius=60.0)
pd.DataFrame(distance_rows(score))

# %%
mass = {spec.name: spec.mass_kda for spec in dataset.phantoms}
pd.DataFrame([{**row, "kDa": mass[row["label"]]} for row in recall_rows(score)]).sort_values("kDa", ascending=False)

# %% [markdown]
# ## What the store holds
#
# A vector of length 1 per particle, and a table beside it. The key says how vectors were made: a query made in another
# way is refused.

# %%
print(f"{len(store)} vectors of {store.key.dim} dimensions; model {store.key.model_name} {store.key.model_hash},")
print(f"boxes of {store.key.box_angstrom:g} A at {store.key.voxel_size:g} A per voxel, {store.key.copies} copies each")
particles.table[["tomogram", "z", "y", "x", "score", "volume", "particle_id"]].head()

# %% [markdown]
# ## What is a vector good for?
#
# Neighbours. In each row one particle (left), then what the index finds nearest to it among *all* particles, with the
# cosine of their vectors and the true species. Like should stand beside like, however it lies. The boxes are cut from
# denoised volumes, so that there is something to see; the vectors were made from the raw ones.

# %%
print(denoise(DenoiseConfig(tomograms=tomograms, out=DATA / "denoised")))
denoised = {name: read_tomogram(DATA / "denoised" / f"{name}_denoised.mrc", name=name) for name in volumes}


def cut(rows: Particles, box_vox: int = 28) -> np.ndarray:
    """One box per particle out of the denoised volumes."""
    places = zip(rows.table["tomogram"], rows.positions_zyx, strict=True)
    return np.concatenate(
        [cut_boxes(denoised[name].data, denoised[name].to_voxel([at]), box_vox) for name, at in places]
    )


def true_labels(particles: Particles, radius: float = 60.0) -> np.ndarray:
    """The species of the true particle that each one belongs to, "none" without any."""
    labels = np.full(len(particles), "none", dtype=object)
    for name in truth.tomograms:
        rows, here = np.flatnonzero(particles.table["tomogram"] == name), truth.of(name)
        pairs = assign(particles.positions_zyx[rows], here.positions_zyx, radius)
        labels[rows[pairs[:, 0]]] = here.labels[pairs[:, 1]]
    return labels


# %%
species = true_labels(particles)
asked = [int(np.flatnonzero(species == spec.name)[0]) for spec in dataset.phantoms[:4] if spec.name in species]
scores, row_ids = EmbeddingIndex.load(store).search(store.vectors()[asked], 6)
row_of = {row_id: row for row, row_id in enumerate(store.row_ids)}
rows = np.array([row_of[row_id] for row_id in row_ids.ravel()])
captions = [f"{species[row]} {score:.2f}" for row, score in zip(rows, scores.ravel(), strict=True)]
medoid_montage(cut(particles.select(rows)), captions, columns=6)

# %% [markdown]
# The next notebook turns this into picking: instead of one neighbour's opinion, five examples and a ranking.
