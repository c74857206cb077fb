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

import cryoembed
from cryoembed.config import load_config
from cryoembed.evaluate.beads import bead_widths
from cryoembed.evaluate.realism import series_statistics
from cryoembed.io.mrc import read_mrc
from cryoembed.io.shrec import read_model
from cryoembed.io.tilt_series import read_tilts
from cryoembed.plot.embeddings import medoid_montage
from cryoembed.plot.likeness import likeness_figure
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.recipes.simulate import SimulateConfig, simulate
from cryoembed.simulate.dataset import simulate_model
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.series import image
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
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

# %% [markdown]
# ## Other samples
#
# `configs/` holds more than shapes in ice. Left, in small, the crowded sample of `simulate_general.yaml`: proteins of
# all sizes, a vesicle and a membrane, and here a microtubule and actin as well. Right, chromatin: DNA with nucleosomes
# on it. Density and tomogram of each; masks of membranes and filaments are written on request (`write_masks`).

# %%
filaments = [{"kind": "microtubule", "count": [1, 1]}, {"kind": "actin", "count": [2, 2]}]
also = {"filaments": filaments, "vesicles": (1, 1), "crowding": 0.15}
also |= {"imaging.write_tilt_series": True, "imaging.surroundings": "ice"}
general = load_config(SimulateConfig, CONFIGS / "simulate_general_mini.yaml", flags={"out": DATA, **also})
chromatin = load_config(SimulateConfig, CONFIGS / "simulate_chromatin_mini.yaml", flags={"out": DATA})
(crowd, crowd_imaged), (dna, dna_imaged) = simulate_model(general, 0), simulate_model(chromatin, 0)
pictures = {
    "crowded: density": tomogram(crowd.density, "density"),
    "crowded: tomogram": tomogram(crowd_imaged.reconstruction, "crowded"),
    "chromatin: density": tomogram(dna.density, "density"),
    "chromatin: tomogram": tomogram(dna_imaged.reconstruction, "chromatin"),
}
slice_figure(pictures, position=320, thickness=60, max_side=160)

# %% [markdown]
# ## The images behind a tomogram
#
# A tomogram is reconstructed from images of the tilted sample. These are some of the crowded one, in counted electrons.
# High tilts look through more ice: fewer electrons, more noise.


# %%
def tilt_images(series: np.ndarray, tilts_deg: np.ndarray, wanted: tuple[float, ...], name: str) -> dict[str, Tomogram]:
    nearest = [int(np.abs(np.asarray(tilts_deg) - angle).argmin()) for angle in wanted]
    return {f"{name}{round(tilts_deg[at])}°": Tomogram(series[at : at + 1], 10.0, name) for at in nearest}


tilts = tilt_images(crowd_imaged.tilt_series, crowd_imaged.geometry.tilts_deg, (-60, -30, 0, 30, 60), "")
for name, one in tilts.items():
    print(f"{name:>4}: {one.data.mean():.0f} electrons in a pixel")
slice_figure(tilts, position=0, max_side=120, title="tilt series")

# %% [markdown]
# ## Beside a real one
#
# Is the simulation like the real thing? We compare with a recorded tilt series of a small bacterium, *Mycoplasma
# pneumoniae* (EMPIAR-10499, series 00254), which is not part of the package: from here on, cells need it in
# `../shared/data` (beside the project's folder) and are skipped where it is not.
#
# First a check of the reconstruction itself: the recorded images, put together by the code that also reconstructs
# simulated ones, and the tomogram that came with them. If an angle, an axis or a sign were wrong, nothing would fit.

# %%
REAL = Path(cryoembed.__file__).parents[2] / "shared/data"
SERIES = REAL / "tomograms/emp10499"
have_real = SERIES.is_dir()

if have_real:
    images = np.asarray(read_mrc(SERIES / "00254_stack_f16.mrc")[0], dtype=np.float32)
    provided = np.asarray(read_mrc(SERIES / "00254_20A_full.mrc")[0], dtype=np.float32)
    geometry = TiltGeometry.of_table(read_tilts(SERIES / "00254.xml", images=len(images)), 10.0)
    flat = images - images.mean(axis=(1, 2), keepdims=True)
    crop = np.asarray(read_mrc(SERIES / "00254_10A_crop.mrc")[0], dtype=np.float32)
    middle = (120 - 72, 315 - 96, 326 - 96)  # of the series, in voxels of the crop
    ours = reconstruct(flat, geometry, crop.shape, 10.0, centre=middle)
    print(f"correlation with the provided tomogram: {np.corrcoef(ours.ravel(), crop.ravel())[0, 1]:.2f}")
    beads = pd.read_csv(SERIES / "00254_ribosome_pseudolabels_y_below_180.csv").query("tier == 'gold'")
    at = beads[["z_20A", "y_20A", "x_20A"]].to_numpy()
    # the whole volume, on voxels of 20 Å; the provided one averages 2 x 2 x 2 voxels: its middle lies a quarter voxel off
    whole = reconstruct(flat, geometry, provided.shape, 10.0, binning=2, centre=(59.75, 157.25, 162.75))
    for name, volume in (("ours", whole), ("provided", provided)):
        width = np.nanmedian(bead_widths(volume, at, 20.0))
        print(f"{len(at)} gold beads, {name}: {width:.0f} Å wide at half of their height, voxels of 20 Å (median)")
else:
    print("skipped: no recorded series at ../shared/data")

# %% [markdown]
# Now the simulated cell of `configs/simulate_cell.yaml`, or rather a corner of it that is made in seconds: crowded with
# proteins and ribosomes, bounded by a membrane, in a film of ice, and taken as the recorded one was. First images of
# either, untilted and tilted by 45°, then slices of the tomograms: the recorded one as it was provided and from our
# reconstruction, and the simulated one.

# %%
if have_real:
    corner = {"shape": (208, 288, 288), "seed": 11344, "envelope.offset_nm": (130, 170), "structure_folder": REAL}
    cell = load_config(
        SimulateConfig, CONFIGS / "simulate_cell.yaml", flags={"out": DATA, "fiducials": (4, 6), **corner}
    )
    sample, simulated = simulate_model(cell, 0)
    there = images[:, 256:544, 96:384]  # a field of the same size, with the left edge of the recorded cell
    sides = tilt_images(there, geometry.tilts_deg, (0, 45), "recorded, ")
    sides |= tilt_images(simulated.tilt_series, geometry.tilts_deg, (0, 45), "simulated, ")
    sides = dict(sorted(sides.items(), key=lambda item: item[0].split(", ")[1]))  # by angle
    slice_figure(sides, position=0, max_side=96, title="images").show()
else:
    print("skipped: no recorded series at ../shared/data")

# %%
if have_real:
    field = (slice(None), slice(160, 448), slice(0, 288))
    shown = {
        "recorded, as provided": tomogram(crop[field], "provided"),
        "recorded, our reconstruction": tomogram(ours[field], "ours"),
        "simulated": tomogram(simulated.reconstruction[56:152], "cell"),
    }
    slice_figure(shown, position=480, thickness=60, max_side=144, title="slices").show()
else:
    print("skipped: no recorded series at ../shared/data")

# %% [markdown]
# And in numbers. How bright each image is tells of the ice and its thickness; how much its pixels vary, of the signal
# and the noise; the power over spatial frequency, which sizes of detail the signal is made of. The noise of the
# simulation follows from electrons, ice, lens and camera. Where that is not enough, its spectrum can be matched to
# a recorded series (`spectrum_file`), ring by ring.

# %%
if have_real:
    borrowed = {"spectrum_file": (SERIES / "00254_stack_f16.mrc").resolve(), "spectrum_pixel": 10.0}
    imaging = cell.imaging.model_copy(update=borrowed)
    masks = {"sample_mask": sample.sample_mask, "gold": sample.mask_of("fiducial")}
    matched = image(sample.density, 10.0, imaging, np.random.default_rng(0), **masks)
    looks = {"recorded": series_statistics(there)}
    for name, one in (("simulated", simulated), ("simulated, spectrum matched", matched)):
        found = series_statistics(one.tilt_series)
        looks[name] = found.scaled(looks["recorded"].mean[20] / found.mean[20])  # one unit of brightness
    likeness_figure(looks, geometry.tilts_deg).show()
else:
    print("skipped: no recorded series at ../shared/data")
