"""The page of the demo: what went in, what came out, and how well it agrees with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryoembed.io import read_tomogram
from cryoembed.mining.reduce import pca
from cryoembed.particles import Particles
from cryoembed.plot.embeddings import embedding_scatter
from cryoembed.plot.page import Section, write_page
from cryoembed.plot.slices import Overlay, slice_figure
from cryoembed.store import EmbeddingStore


def write_demo_page(out: Path, shown: str, truth: Particles, hits: Particles, scores: dict[str, Any]) -> None:
    """Write ``page.html`` into the demo's folder; ``shown`` names the tomogram whose slices it shows."""
    raw = read_tomogram(out / "dataset" / shown / "reconstruction.mrc", name=shown)
    denoised = read_tomogram(out / "denoised" / f"{shown}_denoised.mrc", name=shown)
    panels = {"raw": raw, "denoised": denoised, "hits": denoised, "truth": denoised}
    overlays = {"hits": [Overlay("hits", hits.of(shown))], "truth": [Overlay("truth", truth.of(shown))]}
    middle = raw.origin[0] + raw.size_angstrom[0] / 2
    slices = slice_figure(panels, position=middle, thickness=30.0, overlays=overlays)
    store = EmbeddingStore.open(out / "store")
    reduced, particles = pca(store.vectors()), store.particles()
    scatter = embedding_scatter(
        reduced.coordinates,
        colour=_labels_of(particles, hits),
        hover={"tomogram": particles.table["tomogram"].to_numpy(), "id": particles.table["particle_id"].to_numpy()},
        axes=("PCA 1", "PCA 2"),
    )
    localisation, clusters = scores["localisation"], scores["clusters"]
    write_page(
        out / "page.html",
        "cryoembed demo",
        [
            Section(
                f"Slices of {shown}",
                "No example was taken from this tomogram. Hits are what the query found; the truth is beside them.",
                figures=(slices,),
            ),
            Section(
                "All particles by likeness", "Each point is an instance, coloured by its label.", figures=(scatter,)
            ),
            Section(
                "Scores",
                f"A pick counts if it lies within {scores['radius']:.0f} A of its own particle. AP: of the ranked hits, on "
                "tomograms without examples. Found: share of all true particles that have an instance, whatever its label.",
                table=scores["rows"],
            ),
        ],
        lead="Simulated tomograms to instances, vectors, an index, ranked picks and clusters, with the bundled weights.",
        facts={
            "localisation F1 (> 500 kDa)": f"{localisation['f1']:.3f}",
            "query AP (> 500 kDa)": f"{scores['query_ap_large']:.3f}",
            "cluster NMI": f"{clusters['nmi']:.3f}",
            "particles": str(len(particles)),
        },
    )


def _labels_of(particles: Particles, hits: Particles) -> list[str]:
    """The label that the query gave to each particle of the store."""
    names = dict(zip(hits.table["particle_id"], hits.labels.astype(str), strict=True))
    return [names.get(one, "without a hit") for one in particles.table["particle_id"]]
