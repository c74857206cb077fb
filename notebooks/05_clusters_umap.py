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
# # 5. Clusters: what is in there?
#
# Sometimes there are no examples, only the question what a data set holds. The vectors answer that too: particles that
# look alike lie together. `cryoembed cluster` groups them (k-means, then spectral clustering), shows each group by its
# most typical member, and writes picks per group, to go on with in RELION.

# %%
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.config import load_config
from cryoembed.evaluate.clustering import score_clusters
from cryoembed.evaluate.match import assign
from cryoembed.io import read_particles, read_tomogram
from cryoembed.mining.cluster import ClusterConfig
from cryoembed.mining.cluster import cluster as cluster_vectors
from cryoembed.particles import Particles
from cryoembed.plot.embeddings import embedding_scatter, medoid_montage
from cryoembed.recipes.cluster import ClusterRecipeConfig, cluster
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.store import EmbeddingStore
from cryoembed.subtomograms import cut_boxes

logging.disable(logging.WARNING)  # the closing lines say enough
CONFIGS, DATA = Path("../configs"), Path("data")
RADIUS = 60.0  # A; how near an instance must be to a true particle to be it

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
# ## Cluster
#
# The same as `cryoembed cluster data/store --out data/clusters --clusters 7`. Six species are in there; the seventh
# group leaves room for what is none of them. UMAP lays the vectors out in the plane for the eye; the clusters are made
# from the vectors themselves.

# %%
settings = ClusterConfig(n_clusters=7)
print(cluster(ClusterRecipeConfig(store=DATA / "store", out=DATA / "clusters", clusters=settings)))
particles = read_particles(DATA / "clusters" / "clusters.csv")
clusters = particles.column("cluster", 0)
sorted(path.relative_to(DATA).as_posix() for path in (DATA / "clusters").rglob("*.*"))

# %%
places = particles.table[["map_1", "map_2"]].to_numpy()
hover = {"particle": particles.table["particle_id"].to_numpy(), "tomogram": particles.table["tomogram"].to_numpy()}
embedding_scatter(places, colour=[f"cluster {number}" for number in clusters], hover=hover, title="as clustered")

# %% [markdown]
# ## And the truth?
#
# The same map, coloured by the species of the true particle within 60 Å. Where colours part as the clusters do,
# clustering has found the species by itself; where two species share an island, their vectors are too alike to tell
# them apart. Grey points have no true particle nearby: pieces, neighbours taken for one, noise.


# %%
def true_labels(found: Particles) -> np.ndarray:
    """The species of the true particle that each instance belongs to, "" without any."""
    labels = np.full(len(found), "", dtype=object)
    for name in truth.tomograms:
        rows, here = np.flatnonzero(found.table["tomogram"] == name), truth.of(name)
        pairs = assign(found.positions_zyx[rows], here.positions_zyx, RADIUS)
        labels[rows[pairs[:, 0]]] = here.labels[pairs[:, 1]]
    return labels


species = true_labels(particles)
embedding_scatter(places, colour=species, hover=hover, title="by true species")

# %% [markdown]
# ## The face of each cluster
#
# Its medoid, the particle nearest to the mean: three central slices of the denoised volume, number and size of the
# cluster, and the species that most of its members have.

# %%
medoids = read_particles(DATA / "clusters" / "medoids.csv")
boxes = [
    cut_boxes(denoised[name].data, denoised[name].to_voxel([at]), 28)[0]
    for name, at in zip(medoids.table["tomogram"], medoids.positions_zyx, strict=True)
]
table = pd.crosstab(
    clusters, np.where(species == "", "no particle", species), rownames=["cluster"], colnames=["species"]
)
captions = [f"{number} ({size}): {table.loc[number].idxmax()}" for number, size in enumerate(medoids.table["size"])]
medoid_montage(np.stack(boxes), captions, columns=7)

# %%
table

# %% [markdown]
# ## How well do they agree?
#
# Over the instances that are true particles: normalised mutual information, adjusted Rand index (both 1 for a perfect
# match, 0 for chance or less) and purity. k-means alone beside the two ways to go on with spectral clustering: through
# many centroids (the default), or inside each k-means part, as CryoSiam does it.

# %%
vectors = EmbeddingStore.open(DATA / "store").vectors()
ways = {
    "k-means": ClusterConfig(n_clusters=7, spectral="off"),
    "k-means, then spectral on centroids": settings,
    "k-means, then spectral in each part": ClusterConfig(k=3, n_clusters=3, spectral="parts"),
}
rows = []
for way, config in ways.items():
    made = cluster_vectors(vectors, config)
    score = score_clusters(made.labels, species)
    rows.append({"way": way, "clusters": len(made), "NMI": score.nmi, "ARI": score.ari, "purity": score.purity})
pd.DataFrame(rows).round(3)
