"""The real tomogram: index EMPIAR-10499 00254, query with five ribosomes, compare with its pseudo-labels.

    python -m tests.benchmark.emp10499 ../shared/data/tomograms/emp10499 --out runs/emp10499

The labels come from template matching and are unverified (up to a fifth of ``likely`` may be false): agreement with
them is not accuracy. Only the labelled part (y < 180 voxels of 20 A) is scored; ``ambiguous`` counts neither way.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from cryoembed.evaluate.distance import near, score_distance
from cryoembed.evaluate.table import as_text
from cryoembed.geometry import Triple
from cryoembed.io import read_particles, read_tomogram, write_particles
from cryoembed.mining.query import QueryConfig
from cryoembed.particles import Particles
from cryoembed.plot.page import Section, write_page
from cryoembed.plot.picture import page_to_png
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.index import IndexConfig, index
from cryoembed.recipes.query import QueryRecipeConfig, query
from cryoembed.store import EmbeddingStore
from cryoembed.tomogram import Tomogram

LABELS = "00254_ribosome_pseudolabels_y_below_180.csv"
VOLUMES: dict[str, Triple] = {"00254_20A_full": (5.0, 5.0, 5.0), "00254_10A_crop": (720.0, 960.0, 960.0)}
LABELLED_Y_BELOW = 180 * 20.0 + 5.0  # A in the parent frame; the binned volume's origin is 5 A
EXAMPLES = 5
JOINING = (0, 20, 80)
RADIUS = 130.0  # A, half a ribosome


def read_labels(path: Path, tomogram: str) -> Particles:
    """Pseudo-labels in the parent frame; the tier is the label, the template-matching score the score."""
    table = pd.read_csv(path)
    positions = table[["z_10A", "y_10A", "x_10A"]].to_numpy() * 10.0
    return Particles.from_arrays(tomogram, positions, label=table["tier"], score=table["score"])


def labels_in(folder: Path, volume: Tomogram) -> Particles:
    """The pseudo-labels that lie in a volume."""
    labels = read_labels(folder / LABELS, volume.name)
    return labels.select(volume.contains(labels.positions_zyx))


def choose_examples(
    labels: Particles, volume: Tomogram, generator: np.random.Generator | None = None, *, count: int = EXAMPLES
) -> Particles:
    """The likeliest ribosomes, or any likely ones where a generator draws, far enough inside for a whole box."""
    likely = labels.select(labels.labels == "likely").sorted_by_score()
    inside = volume.to_voxel(likely.positions_zyx) * volume.voxel_size
    margin = 160.0
    kept = np.all((inside > margin) & (inside < np.asarray(volume.size_angstrom) - margin), axis=1)
    rows = np.flatnonzero(kept)
    chosen = rows[:count] if generator is None else generator.choice(rows, count, replace=False)
    return likely.select(chosen).with_columns(label="ribosome")


def ask(
    store: Path, examples: Particles, labels: Particles, stem: Path, *, expand: int = 0
) -> tuple[Particles, dict[str, object]]:
    """Query a store with the examples; the best hits, as many as there are ``likely``, and the figures of all."""
    asked, target = (stem.with_name(f"{stem.name}_{what}.csv") for what in ("examples", "hits"))
    write_particles(asked, Particles(examples.table[["tomogram", "z", "y", "x", "label"]]))
    scoring = QueryConfig(expand=expand)
    print(query(QueryRecipeConfig(store=store, examples=asked, out=target, radius=RADIUS, scoring=scoring)))
    hits = read_particles(target)
    hits = hits.select(hits.positions_zyx[:, 1] < LABELLED_Y_BELOW)
    found = EmbeddingStore.open(store).particles()
    likely, doubtful = (labels.select(labels.labels == tier) for tier in ("likely", "ambiguous"))
    traps = labels.select(np.isin(labels.labels, ["outside", "gold"]))
    unused = likely.select(~near(likely, examples, 1.0))
    ignore = Particles.concatenate([doubtful, examples])
    best = hits.sorted_by_score().select(np.arange(min(len(hits), len(likely))))
    score, everything = (score_distance(picks, unused, radius=RADIUS, ignore=ignore) for picks in (best, found))
    ranked = score_distance(hits, unused, radius=RADIUS, ignore=ignore)
    return best, {
        "particles in the store": len(found),
        "hits in the labelled part": len(hits),
        "likely ribosomes (examples left out)": len(unused),
        "recall of likely, all instances": round(everything.recall, 3),
        "hits kept": len(best),
        "recall of likely": round(score.recall, 3),
        "share of hits outside the cell or on gold": round(float(near(best, traps, RADIUS).mean()), 3),
        "precision (ambiguous ignored)": round(score.precision, 3),
        "average precision": round(ranked.average_precision or 0.0, 3),
    }


def run(folder: Path, name: str, origin: Triple, out: Path, expand: int, subtomogram: str) -> dict[str, object]:
    """Index, query and score one volume; returns the figures."""
    path = folder / f"{name}.mrc"
    volume = read_tomogram(path, origin=origin)
    labels = labels_in(folder, volume)
    examples = choose_examples(labels, volume)
    store = out / f"{name}_store"
    start = time.perf_counter()
    print(index(IndexConfig(tomograms=(path,), out=store, origin=origin, subtomogram_weights=subtomogram)))
    seconds = time.perf_counter() - start
    best, figures = ask(store, examples, labels, out / name, expand=expand)
    asked, target = out / f"{name}_examples.csv", out / f"{name}_hits.star"
    scoring = QueryConfig(expand=expand)
    print(query(QueryRecipeConfig(store=store, examples=asked, out=target, radius=RADIUS, scoring=scoring)))
    print(denoise(DenoiseConfig(tomograms=(path,), out=out / "denoised", origin=origin)))
    figures = {"seconds to index": round(seconds, 1)} | figures
    likely = labels.select(labels.labels == "likely")
    _picture(out, volume, best, likely, figures)
    return figures


def drawn(folder: Path, name: str, out: Path, draws: int) -> list[dict[str, str]]:
    """Any likely ribosomes as examples, few or more, alone or with hits that join: mean and s.d. over the draws."""
    volume = read_tomogram(folder / f"{name}.mrc", origin=VOLUMES[name])
    labels, rows = labels_in(folder, volume), []
    for count, expand in product((1, EXAMPLES), JOINING):
        row = {"examples": str(count), "hits that join": str(expand)}
        found = []
        for seed in range(draws):
            examples = choose_examples(labels, volume, np.random.default_rng(seed), count=count)
            found.append(ask(out / f"{name}_store", examples, labels, out / f"{name}_drawn", expand=expand)[1])
        for figure in ("average precision", "recall of likely"):
            values = [float(str(one[figure])) for one in found]
            row[figure] = f"{np.mean(values):.3f} ± {np.std(values):.3f}"
        rows.append(row)
    return rows


def _picture(out: Path, volume: Tomogram, hits: Particles, likely: Particles, figures: dict[str, object]) -> None:
    denoised = read_tomogram(out / "denoised" / f"{volume.name}_denoised.mrc", origin=volume.origin)
    panels = {"raw": volume, "denoised, with hits": denoised, "denoised, with pseudo-labels": denoised}
    overlays = {
        "denoised, with hits": [Overlay("hits", hits)],
        "denoised, with pseudo-labels": [Overlay("likely", likely)],
    }
    middle = float(np.median(likely.positions_zyx[:, 0]))
    figure = slice_figure(panels, position=middle, thickness=60.0, overlays=overlays)
    rows = [{"figure": name, "value": value} for name, value in figures.items()]
    text = "Labels are pseudo-labels of template matching (y < 3605 A only); agreement with them is not accuracy."
    page = out / f"{volume.name}.html"
    sections = [Section("Slice", text, figures=(figure,)), Section("Figures", table=rows)]
    write_page(page, f"EMPIAR-10499, {volume.name}", sections, lead="Five ribosome examples in, ranked hits out.")
    page_to_png(page, page.with_suffix(".png"), height=1400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/emp10499"))
    parser.add_argument("--volume", choices=[*VOLUMES], help="only this one")
    parser.add_argument("--subtomogram", default="subtomogram_small", help="another encoder needs another --out")
    parser.add_argument("--expand", type=int, default=0, help="of `query`: best hits that join the examples")
    parser.add_argument("--draws", type=int, default=0, help="of examples, for a table with and without joining hits")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = [arguments.volume] if arguments.volume else list(VOLUMES)
    results = {
        name: run(arguments.folder, name, VOLUMES[name], arguments.out, arguments.expand, arguments.subtomogram)
        for name in names
    }
    (arguments.out / "figures.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, figures in results.items():
        print(f"\n{name}")
        for key, value in figures.items():
            print(f"  {key:42s} {value}")
        if arguments.draws:
            print(as_text(drawn(arguments.folder, name, arguments.out, arguments.draws)))


if __name__ == "__main__":
    main()
