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
# # 4. Query: five examples in, ranked picks out
#
# Click on five particles in one tomogram; get every particle like them in all tomograms, best first. No network is
# trained: the five boxes are embedded, and the vectors of the store are ranked by their likeness to them.

# %%
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.config import load_config
from cryoembed.evaluate.distance import score_distance
from cryoembed.evaluate.match import greedy_hits
from cryoembed.evaluate.table import distance_rows
from cryoembed.io import read_particles, read_tomogram, write_particles
from cryoembed.particles import Particles
from cryoembed.plot.embeddings import medoid_montage
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.plot.training import training_figure
from cryoembed.recipes.demo import pick_examples
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.query import QueryRecipeConfig, query
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.subtomograms import cut_boxes

logging.disable(logging.WARNING)  # the closing lines say enough
CONFIGS, DATA = Path("../configs"), Path("data")
RADIUS = 60.0  # A; how near a pick must be to a true particle to be right

# %% [markdown]
# ## Tomograms and store
#
# Those of notebooks 1 and 3; what is there is kept, what is missing is made. The denoised volumes are for looking at.

# %%
dataset = load_config(SimulateConfig, CONFIGS / "simulate_demo.yaml", flags={"models": 3, "out": DATA / "dataset"})
models = [dataset.out / f"model_{number}" for number in range(dataset.models)]
tomograms = tuple(model / "reconstruction.mrc" for model in models)
print(simulate(dataset))
print(index(IndexConfig(tomograms=tomograms, out=DATA / "store")))
print(denoise(DenoiseConfig(tomograms=tomograms, out=DATA / "denoised")))

truth = Particles.concatenate([read_particles(model / "particles.parquet") for model in models])
denoised = {
    model.name: read_tomogram(DATA / "denoised" / f"{model.name}_denoised.mrc", name=model.name) for model in models
}

# %% [markdown]
# ## Five examples
#
# Any format that holds picks will do: RELION or Warp STAR, csv, .coords. Here a csv of five barrels (1.6 MDa) of
# `model_0`, taken from the truth as a person would click on them.

# %%
everyone = pick_examples(truth.of("model_0"), per_label=5, seed=4)  # five of each species
barrels = everyone.select(everyone.labels == "barrel_1600")
write_particles(DATA / "barrels.csv", barrels)
barrels.table

# %% [markdown]
# ## Ask
#
# The same as `cryoembed query data/store --examples data/barrels.csv --out data/barrels_hits.star`. The suffix decides
# the format: a RELION 5 STAR file to go on with, a csv to read here.

# %%
for name in ("barrels_hits.star", "barrels_hits.csv"):
    print(query(QueryRecipeConfig(store=DATA / "store", examples=DATA / "barrels.csv", out=DATA / name)))
hits = read_particles(DATA / "barrels_hits.csv")
print((DATA / "barrels_hits.star").read_text()[:700])

# %% [markdown]
# ## The best hits, where no example came from
#
# Everything from here on is about `model_1` and `model_2` only. Central slices of the twelve best hits in the denoised
# volumes, with their rank and score, and whether a barrel is really there.


# %%
def cut(rows: Particles, box_vox: int = 28) -> np.ndarray:
    """One box per particle out of the denoised volumes."""
    places = zip(rows.table["tomogram"], rows.positions_zyx, strict=True)
    return np.concatenate(
        [cut_boxes(denoised[name].data, denoised[name].to_voxel([at]), box_vox) for name, at in places]
    )


def elsewhere(particles: Particles) -> Particles:
    return particles.select((particles.table["tomogram"] != "model_0").to_numpy())


def is_right(picks: Particles, wanted: Particles) -> np.ndarray:
    """Which picks have a wanted particle of their own within the radius; the better scored chooses first."""
    right = np.zeros(len(picks), dtype=bool)
    for name in picks.tomograms:
        rows = np.flatnonzero(picks.table["tomogram"] == name)
        scores = picks.column("score", 0.0)[rows]
        right[rows] = greedy_hits(picks.positions_zyx[rows], wanted.of(name).positions_zyx, scores, RADIUS)
    return right


ranked = elsewhere(hits).sorted_by_score()
wanted = elsewhere(truth.select(truth.labels == "barrel_1600"))
right = is_right(ranked, wanted)
shown = ranked.select(np.arange(min(12, len(ranked))))
verdicts = zip(shown.column("score", 0.0), right, strict=False)
captions = [
    f"{rank}: {score:.2f} {'barrel' if yes else 'wrong'}" for rank, (score, yes) in enumerate(verdicts, start=1)
]
medoid_montage(cut(shown), captions, columns=6)

# %%
panels = {"hits": denoised["model_1"], "truth": denoised["model_1"]}
good = ranked.select(np.arange(min(len(wanted), len(ranked)))).of("model_1")  # as many as there are barrels
rings = {
    "hits": [Overlay("hits", good, radius=80, within=80, colour="#E69F00")],
    "truth": [Overlay("truth", wanted.of("model_1"), radius=80, within=80)],
}
slice_figure(panels, overlays=rings, thickness=30)

# %% [markdown]
# ## Precision and recall
#
# Going down the ranking: of the hits so far, how many are barrels (precision); of all barrels in the two tomograms, how
# many have been hit (recall)? The area under the curve is the average precision. A query cannot find what `index` did
# not: the curve ends at the share of barrels that have an instance at all (notebook 3 has it for all three tomograms).

# %%
steps = [
    {"recall": float(found) / len(wanted), "precision": float(found) / rank}
    for rank, found in enumerate(np.cumsum(right), start=1)
]
average = score_distance(ranked, wanted, radius=RADIUS).average_precision
curve = training_figure(steps, step="recall", title=f"barrels from five examples: average precision {average:.2f}")
curve.update_xaxes(range=[0, 1]).update_yaxes(range=[0, 1.05])

# %% [markdown]
# ## All species at once
#
# With a `label` column the examples are a question about several classes, and every particle gets one answer.

# %%
write_particles(DATA / "examples.csv", everyone)
print(query(QueryRecipeConfig(store=DATA / "store", examples=DATA / "examples.csv", out=DATA / "hits.csv")))
everything = elsewhere(read_particles(DATA / "hits.csv"))
score = score_distance(everything, elsewhere(truth), radius=RADIUS, per_class=True)
pd.DataFrame(distance_rows(score))

# %%
rings = {
    "hits": [Overlay("hits", everything.of("model_1"), radius=80, within=60)],
    "truth": [Overlay("truth", truth.of("model_1"), radius=80, within=60)],
}
slice_figure(panels, overlays=rings, thickness=30)
