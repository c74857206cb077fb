"""The label-free headline on real data: the same query of even-tilt and of odd-tilt reconstructions, and do they agree?

    python -m tests.benchmark.emp10499_halves ../shared/data/tomograms/emp10499 --out runs/emp10499_halves

EMPIAR-10499 00254 is reconstructed from its even and from its odd tilts (by angle): independent noise, half the dose each,
6 degrees between tilts. The 10 A crop of each is indexed and asked for ribosomes with the same five examples. Agreement
is F1 between the two sets of N best hits, one-to-one within 130 A; ``by chance`` is that of N of the hits
of each half drawn at random. Agreement needs no label but the five examples, whose places are left out; the last
columns compare with the pseudo-labels, as `emp10499` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cryoembed.evaluate.distance import near, score_distance
from cryoembed.evaluate.table import as_text
from cryoembed.io import read_particles, read_tomogram, write_particles
from cryoembed.io.mrc import write_mrc
from cryoembed.mining.query import QueryConfig
from cryoembed.models.checkpoint import find_weights, load_weights
from cryoembed.particles import Particles
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.query import QueryRecipeConfig, query
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from cryoembed.store import EmbeddingStore
from tests.benchmark.emp10499 import RADIUS, VOLUMES, choose_examples, labels_in
from tests.benchmark.reconstruct_emp10499 import CROP, PIXEL, SHAPE, read_series

CROP_SHAPE = (96, 448, 448)
ORIGIN = VOLUMES["00254_10A_crop"]
DRAWS = 20


def halves(folder: Path, out: Path) -> list[Path]:
    """The crop from even and from odd tilts, written once."""
    images, geometry = read_series(folder)
    paths = []
    for half in ("even", "odd"):
        path = out / f"00254_{half}.mrc"
        if not path.exists():
            centre = tuple(size // 2 - start for size, start in zip(SHAPE, CROP, strict=True))
            volume = reconstruct(images, geometry, CROP_SHAPE, PIXEL, centre=centre, tilts=half)
            write_mrc(path, volume.astype(np.float32), PIXEL)
        paths.append(path)
    return paths


def hits_of(
    path: Path, examples: Particles, out: Path, voxel: str, subtomogram: str, *, expand: int = 0
) -> tuple[Particles, Particles]:
    """Ranked hits without the examples' own places, and all instances, of one half."""
    store = out / f"{path.stem}_store"
    index(
        IndexConfig(
            tomograms=(path,), name="half", out=store, origin=ORIGIN,
            voxel_weights=voxel, subtomogram_weights=subtomogram,
        )
    )  # fmt: skip
    asked = out / f"{path.stem}_examples.csv"
    named = examples.table[["tomogram", "z", "y", "x", "label"]].assign(tomogram="half")
    write_particles(asked, Particles(named))
    target = out / f"{path.stem}_hits.csv"
    scoring = QueryConfig(expand=expand)
    query(QueryRecipeConfig(store=store, examples=asked, out=target, radius=RADIUS, scoring=scoring))
    hits = read_particles(target)
    return hits.select(~near(hits, Particles(named), RADIUS)).sorted_by_score(), EmbeddingStore.open(store).particles()


def agreement(one: Particles, other: Particles) -> float:
    """F1 between two sets of picks."""
    return score_distance(one, other, radius=RADIUS).f1


def main() -> None:
    """Print the agreement for several numbers of hits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/emp10499_halves"))
    parser.add_argument("--voxel", default="voxel_small")
    parser.add_argument("--subtomogram", default="subtomogram_small")
    parser.add_argument("--expand", type=int, default=0, help="of `query`: best hits that join the examples")
    parser.add_argument("--best", type=int, nargs="+", default=[50, 100, 200, 300])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    crop = read_tomogram(asked.folder / "00254_10A_crop.mrc", origin=ORIGIN)
    labels = labels_in(asked.folder, crop)
    examples = choose_examples(labels, crop)
    run = asked.out / "_".join(load_weights(find_weights(name)).model_hash for name in (asked.voxel, asked.subtomogram))
    run.mkdir(exist_ok=True)
    found = [
        hits_of(path, examples, run, asked.voxel, asked.subtomogram, expand=asked.expand)
        for path in halves(asked.folder, asked.out)
    ]
    (even, all_even), (odd, all_odd) = found
    likely = labels.select(labels.labels == "likely")
    likely = likely.select(~near(likely, examples, 1.0))
    likely = Particles(likely.table.assign(tomogram="half"))
    generator = np.random.default_rng(0)
    rows = []
    for count in asked.best:
        best = [hits.select(np.arange(min(count, len(hits)))) for hits in (even, odd)]
        chance = [
            agreement(*(hits.select(generator.choice(len(hits), min(count, len(hits)), replace=False))
                        for hits in (even, odd)))
            for _ in range(DRAWS)
        ]  # fmt: skip
        recalls = [score_distance(one, likely, radius=RADIUS).recall for one in best]
        rows.append(
            {"best": str(count), "agreement": f"{agreement(*best):.2f}", "by chance": f"{np.mean(chance):.2f}",
             "likely found, even": f"{recalls[0]:.2f}", "odd": f"{recalls[1]:.2f}"}
        )  # fmt: skip
    print(f"{len(all_even)} and {len(all_odd)} instances; of all, {agreement(all_even, all_odd):.2f} agree in place")
    print(as_text(rows))


if __name__ == "__main__":
    main()
