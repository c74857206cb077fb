"""`cluster`: the particles of a store in groups, with a picture of each group and picks to go on with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre
from cryoembed.io.atomic import replacing_folder
from cryoembed.io.formats import write_particles
from cryoembed.mining.cluster import ClusterConfig, Clusters
from cryoembed.mining.cluster import cluster as cluster_vectors
from cryoembed.mining.reduce import Reduced, UmapConfig, pca, umap
from cryoembed.particles import Particles
from cryoembed.recipes.records import write_records
from cryoembed.recipes.sources import open_source, tomogram_infos
from cryoembed.store import EmbeddingStore
from cryoembed.subtomograms import cut_boxes

CLUSTERS, MEDOIDS, PAGE, PICKS = "clusters.csv", "medoids.csv", "clusters.html", "picks"

_log = logging.getLogger(__name__)


class ClusterRecipeConfig(Config):
    """Which store, into which folder, and how."""

    store: Path
    out: Path
    clusters: ClusterConfig = ClusterConfig()
    layout: Literal["umap", "pca"] = Field("umap", description="how the page lays particles out in the plane")
    umap: UmapConfig = UmapConfig()
    montage: bool = Field(True, description="show each cluster's medoid, cut from its tomogram")
    tomograms: tuple[Path, ...] = Field((), description="volumes that have moved since they were indexed")
    tomograms_star: Path | None = None
    relion_centre: RelionCentre = "n/2"


def cluster(config: ClusterRecipeConfig) -> str:
    """Cluster a store and write ``clusters.csv``, ``medoids.csv``, ``picks/cluster_*.star`` and a page.

    Raises
    ------
    InputError
        If the store holds fewer particles than clusters, or the folder holds other things.
    """
    store = EmbeddingStore.open(config.store)
    _refuse_foreign(config.out)
    vectors, particles = store.vectors(), store.particles()
    clusters = cluster_vectors(vectors, config.clusters)
    reduced = _reduce(vectors, config)
    table = particles.with_columns(cluster=clusters.labels, **_coordinates(reduced))
    infos = tomogram_infos(store, config.tomograms_star)
    unsized = [name for name in particles.tomograms if name not in infos]
    boxes = _medoid_boxes(store, particles.select(clusters.medoids), config) if config.montage else None
    columns = ["particle_id", "tomogram", "z", "y", "x", "cluster", *_coordinates(reduced)]
    with replacing_folder(config.out) as folder:
        write_particles(folder / CLUSTERS, Particles(table.table[columns]))
        medoids = table.select(clusters.medoids).with_columns(size=clusters.sizes)
        write_particles(folder / MEDOIDS, Particles(medoids.table[["cluster", "size", *columns[:5]]]))
        for number in range(len(clusters)):
            if not unsized:
                members = particles.select(clusters.labels == number).with_columns(label=_name(number))
                target = folder / PICKS / f"{_name(number)}.star"
                write_particles(target, members, tomograms=infos, relion_centre=config.relion_centre)
        _write_page(folder / PAGE, config, clusters, table, reduced, boxes)
        write_records(
            folder, config, models={store.key.model_name: store.key.model_hash}, store_content=store.content_hash
        )
    sizes = ", ".join(str(size) for size in clusters.sizes[:8]) + (", ..." if len(clusters) > 8 else "")
    skipped = f"; no STAR files, the store knows no size of {unsized[0]!r}" if unsized else ""
    return (
        f"{len(particles)} particles of {len(store.tomograms)} tomograms in {len(clusters)} clusters "
        f"(sizes {sizes}){skipped}; written to {config.out}"
    )


def _name(number: int) -> str:
    return f"cluster_{number:03d}"


def _reduce(vectors: npt.NDArray[np.float32], config: ClusterRecipeConfig) -> Reduced:
    if config.layout == "umap" and len(vectors) >= 5:
        return umap(vectors, config.umap.model_copy(update={"components": 2}))
    return pca(vectors)


def _coordinates(reduced: Reduced) -> dict[str, npt.NDArray[np.float32]]:
    return {"map_1": reduced.coordinates[:, 0], "map_2": reduced.coordinates[:, 1]}


def _medoid_boxes(
    store: EmbeddingStore, medoids: Particles, config: ClusterRecipeConfig
) -> npt.NDArray[np.float32] | None:
    """(c, box, box, box) with particles bright, on the tomograms' own grid; None where they cannot be had."""
    try:
        volumes = {name: open_source(store, name, config.tomograms) for name in medoids.tomograms}
    except InputError as error:
        _log.warning("the page shows no medoids: %s", error)
        return None
    coarsest = max(volume.voxel_size for volume in volumes.values())
    box_vox = max(8, round(store.key.box_angstrom / coarsest))
    boxes = []
    for name, position in zip(medoids.table["tomogram"], medoids.positions_zyx, strict=True):
        source = store.source(name)
        box = cut_boxes(volumes[name].data, volumes[name].to_voxel(position), box_vox)[0]
        boxes.append(-box if source is not None and source.contrast == "dark" else box)
    return np.stack(boxes)


def _write_page(
    path: Path,
    config: ClusterRecipeConfig,
    clusters: Clusters,
    table: Particles,
    reduced: Reduced,
    boxes: npt.NDArray[np.float32] | None,
) -> None:
    from cryoembed.plot.embeddings import embedding_scatter, medoid_montage
    from cryoembed.plot.page import Section, write_page

    axes = ("UMAP 1", "UMAP 2") if reduced.note.startswith("UMAP") else ("PCA 1", "PCA 2")
    hover: dict[str, Any] = {name: table.table[name].to_numpy() for name in ("tomogram", "particle_id", "cluster")}
    scatter = embedding_scatter(
        reduced.coordinates,
        colour=[str(label) for label in clusters.labels],
        hover=hover,
        title=reduced.note,
        axes=axes,
    )
    sections = [Section("Map", figures=(scatter,))]
    if boxes is not None:
        captions = [f"{number} ({size})" for number, size in enumerate(clusters.sizes)]
        text = "The particle nearest to the mean of each cluster: central slices along z, y, x."
        sections.append(Section("Medoids", text, figures=(medoid_montage(boxes, captions),)))
    rows = [
        {"cluster": number, "particles": int(size), "share": f"{size / len(table):.1%}"}
        for number, size in enumerate(clusters.sizes)
    ]
    sections.append(Section("Clusters", table=rows))
    facts = {"particles": f"{len(table):,}", "clusters": str(len(clusters)), "tomograms": str(len(table.tomograms))}
    write_page(path, "Clusters", sections, lead=f"Particles of {config.store.name}, grouped by likeness.", facts=facts)


def _refuse_foreign(out: Path) -> None:
    """The folder is replaced as a whole, so it must hold nothing but an earlier result."""
    ours = {CLUSTERS, MEDOIDS, PAGE, PICKS, "config.yaml", "provenance.json"}
    if out.is_file():
        raise InputError(f"{out} is a file; choose another --out")
    foreign = sorted(item.name for item in out.iterdir() if item.name not in ours) if out.is_dir() else []
    if foreign:
        raise InputError(f"{out} holds other things ({', '.join(foreign[:3])}); choose another --out")
