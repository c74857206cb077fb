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
# # 1. Simulate: tomograms whose truth is known
#
# Real tomograms come without answers. To train a network, or to know how well a picker picks, we need volumes in which
# the place, orientation and name of every particle are known. This notebook makes three small ones and looks at what
# lies between a particle and a grey value: the microscope, the missing wedge, the noise.
#
# The other notebooks use the same data set, and make it themselves where it is missing.

# %%
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.config import load_config
from cryoembed.io.shrec import read_model
from cryoembed.plot.embeddings import medoid_montage
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.simulate.dataset import simulate_model
from cryoembed.subtomograms import cut_boxes
from cryoembed.tomogram import Tomogram

logging.disable(logging.WARNING)  # the closing lines say enough
CONFIGS, DATA = Path("../configs"), Path("data")

# %% [markdown]
# ## What goes in
#
# A YAML of settings. Six species, from 250 kDa to 2.5 MDa: procedural phantoms, shapes of their own that no shipped
# network was trained on. PDB, mmCIF and MRC structures may join them (`structures:`).

# %%
dataset = load_config(SimulateConfig, CONFIGS / "simulate_demo.yaml", flags={"models": 3, "out": DATA / "dataset"})
pd.DataFrame([spec.model_dump(include={"name", "family", "mass_kda", "symmetry"}) for spec in dataset.phantoms])

# %% [markdown]
# ## Make it
#
# The same as `cryoembed simulate configs/simulate_demo.yaml --out data/dataset --set models=3`. A model that is
# complete is kept, so the second run has nothing to do.

# %%
print(simulate(dataset))
print(simulate(dataset))

# %% [markdown]
# Every model is a folder in the layout of SHREC 2021: the tomogram, the density that went into it, a mask of classes, a
# mask of particle numbers, and the list of particles. Positions are in Å: voxel *i* has its centre at *i* times the
# voxel size.

# %%
model = read_model(DATA / "dataset" / "model_0")
truth = model.particles
print(model.reconstruction)
truth.table[["tomogram", "z", "y", "x", "label"]].head()

# %% [markdown]
# ## From particles to grey values
#
# The same model again, in memory this time: model 0 depends on the settings and its number only, so it is the one on
# disk. Left to right: the density of all molecules; what the microscope leaves of it (CTF, dose, tilts to ± 60°), in
# which particles are dark; with noise, which is what one gets; and the truth on top, a ring for every particle that the
# slice passes near.

# %%
scene, imaged = simulate_model(dataset, 0)
assert np.array_equal(imaged.reconstruction, model.reconstruction.data)


def tomogram(data: np.ndarray, name: str) -> Tomogram:
    return Tomogram(data, dataset.voxel_size, name)


particles = scene.particles
panels = {
    "molecules": tomogram(scene.density, "density"),
    "without noise": tomogram(imaged.clean, "clean"),
    "tomogram": model.reconstruction,
    "truth": model.reconstruction,
}
middle = model.reconstruction.size_angstrom[0] / 2
rings = {"truth": [Overlay("truth", particles, radius=80, within=60)]}
slice_figure(panels, position=middle, thickness=30, overlays=rings)

# %% [markdown]
# ## The missing wedge
#
# A plane along the beam (z upwards) shows what tilting to ± 60° only does: the particles are drawn out along z, and
# their tops and bottoms are open.

# %%
side = {name: panels[name] for name in ("molecules", "without noise", "tomogram")}
slice_figure(side, plane="y", position=model.reconstruction.size_angstrom[1] / 2, thickness=30)

# %% [markdown]
# ## One of each species
#
# Boxes of 320 Å cut at the true positions, with three central slices each (along z, y, x): molecules above, the same
# boxes of the tomogram below, its contrast turned so that particles are bright. Telling these apart, whatever way they
# lie, is what the next notebook trains a network for.

# %%
centres = model.reconstruction.to_voxel(particles.positions_zyx)
whole = np.all((centres >= 16) & (centres < np.subtract(scene.density.shape, 16)), axis=1)  # the box lies inside
first = [int(np.flatnonzero(whole & (particles.labels == spec.name))[0]) for spec in dataset.phantoms]
chosen, centres = particles.select(first), centres[first]
titles = [f"{label}, {mass:.0f} kDa" for label, mass in zip(chosen.labels, chosen.column("mass_kda", 0.0), strict=True)]
medoid_montage(cut_boxes(scene.density, centres, 32), titles, title="molecules", columns=6)

# %%
medoid_montage(cut_boxes(-model.reconstruction.data, centres, 32), titles, title="the same in the tomogram", columns=6)
