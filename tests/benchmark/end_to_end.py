"""From tomograms to picks of species that no network has seen: localisation, and query by example, end to end.

    python -m tests.benchmark.end_to_end ../shared/data --snr 0.5 0.1
    python -m tests.benchmark.end_to_end ../shared/data --snr 0.5 --template-matching --models 2

Tomograms are those of `unseen_species`: SHREC-style, never SHREC 2021's own. The first model gives the examples (true
positions of each species), the others are scored. A pick is right if its own true particle lies within 60 A. No threshold
is set anywhere: AP ranks all picks, and F1 is taken at as many best picks as there are true particles, for every row
alike. Localisation asks for particles of any kind; the difference-of-Gaussians row is its floor. With
``--template-matching`` each species' true map is searched for in the scored tomograms, on voxels of 20 A. CPU seconds
are those of finding and embedding everything, or of the search, in the scored models.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from cryoembed.evaluate.distance import score_distance
from cryoembed.evaluate.table import as_text
from cryoembed.instances.config import InstanceConfig
from cryoembed.io import read_particles, read_tomogram, write_particles
from cryoembed.matching.band import coarser
from cryoembed.matching.peaks import peaks
from cryoembed.matching.search import match_template
from cryoembed.mining.query import QueryConfig
from cryoembed.models.checkpoint import find_weights, load_weights
from cryoembed.particles import Particles, is_molecule
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.query import QueryRecipeConfig, query
from cryoembed.rotations import grid
from cryoembed.store import EmbeddingStore
from tests.benchmark.few_shot import MASS_GROUPS_KDA
from tests.benchmark.true_maps import TILT_MAX_DEG, contrast_transfer, defocus_um, maps
from tests.benchmark.unseen_species import SNRS, dataset

RADIUS = 60.0  # A
BINNING, PICKS = 2, 200  # of the search with true maps; per species and model
SIGMAS_VOX = (2.0, 3.0)  # of the floor's two Gaussians


def truth_of(models: Sequence[Path]) -> Particles:
    """All macromolecules of the models."""
    found = [read_particles(model / "particles.parquet") for model in models]
    return Particles.concatenate([particles.select(is_molecule(particles.labels)) for particles in found])


def indexed(models: Sequence[Path], out: Path, voxel: str, subtomogram: str) -> tuple[Path, float]:
    """A store of the models' reconstructions under their names, and the CPU seconds that took."""
    cost = out.with_suffix(".json")
    if cost.exists():  # the store is there already
        return out, float(json.loads(cost.read_text()))
    start = time.process_time()
    for model in models:
        index(
            IndexConfig(
                tomograms=(model / "reconstruction.mrc",), name=model.name, out=out,
                voxel_weights=voxel, subtomogram_weights=subtomogram, replace=True,
            )
        )  # fmt: skip
    seconds = time.process_time() - start
    cost.write_text(json.dumps(seconds))
    return out, seconds


def asked(
    store: Path, truth: Particles, first: str, out: Path, *, examples: int, seed: int, expand: int = 0
) -> Particles:
    """Hits for every species by ``examples`` true positions of the first model."""
    generator = np.random.default_rng([seed, examples])
    own = truth.select(truth.table["tomogram"].to_numpy() == first)
    rows = [
        generator.choice(np.flatnonzero(own.labels == name), examples, replace=False) for name in np.unique(own.labels)
    ]
    chosen = own.select(np.concatenate(rows))
    path = out / f"examples_{examples}_{seed}.csv"
    write_particles(path, Particles(chosen.table[["tomogram", "z", "y", "x", "label"]]))
    hits = out / f"hits_{examples}_{seed}.csv"
    scoring = QueryConfig(expand=expand)
    query(QueryRecipeConfig(store=store, examples=path, out=hits, radius=RADIUS, scoring=scoring))
    return read_particles(hits)


def localised_by_difference(models: Sequence[Path]) -> Particles:
    """The floor: maxima of a difference of Gaussians, their height as score."""
    parts = []
    for model in models:
        volume = prepare(read_tomogram(model / "reconstruction.mrc", name=model.name), InputConfig()).tomogram
        inner, outer = (ndimage.gaussian_filter(volume.data.astype(np.float32), sigma) for sigma in SIGMAS_VOX)
        height = inner - outer
        summit = (height == ndimage.maximum_filter(height, size=9)) & (height > 0)
        where = np.argwhere(summit)
        parts.append(Particles.from_arrays(model.name, where * volume.voxel_size, score=height[summit]))
    return Particles.concatenate(parts)


def at_true_count(picks: Particles, truth: Particles) -> tuple[float, float]:
    """F1 of as many best picks as there are true particles, and AP of all."""
    best = picks.sorted_by_score().select(np.arange(min(len(picks), len(truth))))
    f1 = score_distance(best, truth, radius=RADIUS).f1
    return f1, score_distance(picks, truth, radius=RADIUS).average_precision or 0.0


def by_species(picks: Particles, truth: Particles) -> dict[str, tuple[float, float]]:
    """F1 at the true count and AP of each species."""
    names = np.unique(truth.labels)
    return {
        str(name): at_true_count(picks.select(picks.labels == name), truth.select(truth.labels == name))
        for name in names
    }


def matched(models: Sequence[Path], structures: Path, step_deg: float) -> Particles:
    """Picks of every species by its true map, on voxels twice as large; wedge and each model's defocus are known."""
    turns = grid(step_deg)
    parts = []
    for model in models:
        volume = prepare(read_tomogram(model / "reconstruction.mrc", name=model.name), InputConfig()).tomogram
        size = BINNING * volume.voxel_size
        for template in maps(structures):
            small, map_ = coarser(volume.data, template.density, BINNING)
            radius = template.radius / size + 1.0
            transfer = contrast_transfer(defocus_um(model), size)
            match = match_template(small, map_, turns, mask_radius_vox=radius, tilt_max_deg=TILT_MAX_DEG, ctf=transfer)
            picks = peaks(match, turns, size, tomogram=model.name, min_distance=RADIUS, count=PICKS)
            parts.append(picks.with_columns(label=template.name))
    return Particles.concatenate(parts)


def row_of(
    method: str, scores: dict[str, tuple[float, float]], masses: dict[str, float], cpu_s: float
) -> dict[str, str]:
    """One line of the table."""
    row = {"method": method, "CPU s": f"{cpu_s:.0f}"}
    groups = {"all": (0.0, np.inf), **MASS_GROUPS_KDA}
    for group, (low, high) in groups.items():
        found = [score for name, score in scores.items() if low <= masses[name] < high]
        row[f"F1 {group}"] = f"{np.mean([f1 for f1, _ in found]):.2f}"
        row[f"AP {group}"] = f"{np.mean([ap for _, ap in found]):.2f}"
    return row


def main() -> None:
    """Print localisation and query by example at each SNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/unseen_species"))
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--snr", nargs="+", default=["0.5", "0.1"], choices=[name for name in SNRS if name != "clean"])
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--voxel", default="voxel_small")
    parser.add_argument("--subtomogram", default="subtomogram_small")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--expand", type=int, nargs="+", default=[0], help="of `query`: best hits joining the examples")
    parser.add_argument("--template-matching", action="store_true", help="search with the true maps (long)")
    parser.add_argument("--step", type=float, default=18.0, help="degrees between a true map's orientations")
    parser.add_argument("--seeds", type=int, default=3, help="draws of examples")
    wanted = parser.parse_args()
    for snr in wanted.snr:
        models = dataset(wanted.out, wanted.structures, SNRS[snr], split=wanted.split, models=wanted.models)
        hashes = "_".join(load_weights(find_weights(name)).model_hash for name in (wanted.voxel, wanted.subtomogram))
        hashes += f"_{zlib.crc32(InstanceConfig().model_dump_json().encode()):08x}"  # settings that `index` takes
        run = wanted.out / f"end_to_end_{wanted.split}_{snr}_{wanted.models}_{hashes}"
        run.mkdir(parents=True, exist_ok=True)
        store, cpu_s = indexed(models, run / "store", wanted.voxel, wanted.subtomogram)
        everything = truth_of(models)
        first = models[0].name
        truth = everything.select(everything.table["tomogram"].to_numpy() != first)
        masses = dict(zip(truth.labels.tolist(), truth.column("mass_kda", 0.0).astype(float).tolist(), strict=True))
        _localisation(snr, EmbeddingStore.open(store).particles(), models[1:], truth, masses)
        rows = []
        for examples, expand in product(wanted.examples, wanted.expand):
            draws = []
            for seed in range(wanted.seeds):
                hits = asked(store, everything, first, run, examples=examples, seed=seed, expand=expand)
                draws.append(by_species(_of(hits, models[1:]), truth))
            mean = {name: tuple(np.mean([draw[name] for draw in draws], axis=0)) for name in masses}
            name = f"{examples} examples" + (f", {expand} hits join" if expand else "")
            rows.append(row_of(name, mean, masses, cpu_s * len(models[1:]) / len(models)))
        if wanted.template_matching:
            start = time.process_time()
            found = matched(models[1:], wanted.structures, wanted.step)
            rows.append(row_of("true maps", by_species(found, truth), masses, time.process_time() - start))
        print(as_text(rows), flush=True)


def _of(particles: Particles, models: Sequence[Path]) -> Particles:
    return particles.select(np.isin(particles.table["tomogram"].to_numpy(), [model.name for model in models]))


def _localisation(
    snr: str, found: Particles, models: Sequence[Path], truth: Particles, masses: dict[str, float]
) -> None:
    kept = _of(found, models)
    print(f"\nsnr_particle {snr}: {len(truth)} particles, {len(kept)} instances; localisation, whatever the species")
    rows = []
    for method, picks in {"instances": kept, "difference of Gaussians": localised_by_difference(models)}.items():
        f1, ap = at_true_count(picks, truth)
        everything = score_distance(picks, truth, radius=RADIUS)
        row = {
            "method": method,
            "F1": f"{f1:.2f}",
            "AP": f"{ap:.2f}",
            "recall of all picks": f"{everything.recall:.2f}",
        }
        for group, (low, high) in MASS_GROUPS_KDA.items():
            names = [name for name in masses if low <= masses[name] < high]
            row[f"recall {group} kDa"] = f"{np.mean([everything.recall_per_label[name] for name in names]):.2f}"
        rows.append(row)
    print(as_text(rows), flush=True)


if __name__ == "__main__":
    main()
