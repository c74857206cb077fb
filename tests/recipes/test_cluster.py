from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from cryoembed.errors import InputError
from cryoembed.io.formats import read_particles
from cryoembed.mining.cluster import ClusterConfig
from cryoembed.recipes.cluster import ClusterRecipeConfig, cluster
from cryoembed.recipes.sources import tomogram_infos
from tests.recipes.toy_store import Toy, make


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make(tmp_path_factory.mktemp("toy"))


def _run(toy: Toy, out: Path, **changes: Any) -> str:
    clusters = ClusterConfig(n_clusters=2)
    values: dict[str, Any] = {"store": toy.store.path, "out": out, "clusters": clusters, "layout": "pca"}
    return cluster(ClusterRecipeConfig(**(values | changes)))


def test_the_two_planted_shapes_become_two_clusters(toy: Toy, tmp_path: Path) -> None:
    line = _run(toy, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "clusters.csv")
    assert adjusted_rand_score(toy.truth.labels, table["cluster"]) == 1
    assert list(table.columns[:6]) == ["particle_id", "tomogram", "z", "y", "x", "cluster"]
    assert line.startswith("48 particles of 2 tomograms in 2 clusters (sizes ")
    assert (tmp_path / "out" / "provenance.json").is_file()
    assert (tmp_path / "out" / "config.yaml").is_file()


def test_the_star_files_hold_every_particle_once_at_its_place(toy: Toy, tmp_path: Path) -> None:
    _run(toy, tmp_path / "out")
    infos = tomogram_infos(toy.store)
    files = sorted((tmp_path / "out" / "picks").iterdir())
    assert [file.name for file in files] == ["cluster_000.star", "cluster_001.star"]
    parts = [read_particles(file, tomograms=infos).positions_zyx for file in files]
    found = np.concatenate(parts)
    assert sorted(map(tuple, found.round(1))) == sorted(map(tuple, toy.truth.positions_zyx.round(1)))


def test_medoids_are_particles_of_their_cluster(toy: Toy, tmp_path: Path) -> None:
    _run(toy, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "clusters.csv").set_index("particle_id")
    medoids = pd.read_csv(tmp_path / "out" / "medoids.csv")
    assert medoids["cluster"].tolist() == [0, 1]
    assert table.loc[medoids["particle_id"], "cluster"].tolist() == [0, 1]
    assert medoids["size"].tolist() == table["cluster"].value_counts().sort_index().tolist()


def test_the_page_shows_map_and_medoids(toy: Toy, tmp_path: Path) -> None:
    _run(toy, tmp_path / "out")
    page = (tmp_path / "out" / "clusters.html").read_text()
    assert "PCA of all 48 particles" in page
    assert "<h2>Medoids</h2>" in page


def test_same_seed_same_files(toy: Toy, tmp_path: Path) -> None:
    turns = []
    for _ in range(2):  # into one folder: the config, which is kept, names it
        _run(toy, tmp_path / "out")
        turns.append({str(f.relative_to(tmp_path)): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()})
    assert turns[0] == turns[1]


def test_fewer_clusters_leave_no_old_files(toy: Toy, tmp_path: Path) -> None:
    _run(toy, tmp_path / "out", clusters=ClusterConfig(n_clusters=4))
    _run(toy, tmp_path / "out", clusters=ClusterConfig(n_clusters=2))
    assert len(list((tmp_path / "out" / "picks").iterdir())) == 2


def test_a_folder_with_other_things_is_left_alone(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"holds other things \(thesis.tex\)"):
        _run(toy, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_too_many_clusters_are_refused_and_nothing_is_written(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="48 particles cannot make 100 clusters"):
        _run(toy, tmp_path / "out", clusters=ClusterConfig(n_clusters=100))
    assert not (tmp_path / "out").exists()


def test_a_store_whose_tomograms_are_gone_is_still_clustered(tmp_path: Path) -> None:
    toy = make(tmp_path)
    (tmp_path / "TS_1.mrc").unlink()
    _run(toy, tmp_path / "out")
    assert "<h2>Medoids</h2>" not in (tmp_path / "out" / "clusters.html").read_text()
