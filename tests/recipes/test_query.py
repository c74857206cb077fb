from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io.formats import read_particles, write_particles
from cryoembed.io.mrc import read_tomogram, write_mrc
from cryoembed.models.build import build
from cryoembed.models.checkpoint import load_weights, save_weights
from cryoembed.particles import Particles
from cryoembed.recipes.convert import ConvertConfig, convert
from cryoembed.recipes.query import QueryRecipeConfig, embed_picks, query
from cryoembed.recipes.sources import tomogram_infos
from cryoembed.store import EmbeddingStore
from tests.recipes.toy_store import ORIGIN, Toy, make


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make(tmp_path_factory.mktemp("toy"))


def _examples(toy: Toy, path: Path, labels: tuple[str, ...] = ("cube", "cross"), n: int = 3) -> Path:
    rows = np.concatenate([np.flatnonzero(toy.truth.labels == label)[:n] for label in labels])
    write_particles(path, Particles(toy.truth.select(rows).table[["tomogram", "z", "y", "x", "label"]]))
    return path


def _run(toy: Toy, tmp_path: Path, **changes: Any) -> tuple[str, Particles]:
    values: dict[str, Any] = {"store": toy.store.path, "out": tmp_path / "hits.csv", "device": "cpu"} | changes
    if "examples" not in values:
        values["examples"] = _examples(toy, tmp_path / "examples.csv")
    line = query(QueryRecipeConfig(**values))
    return line, read_particles(values["out"], tomograms=tomogram_infos(toy.store))


def _truth_of(toy: Toy, hits: Particles) -> np.ndarray:
    """Class of the planted particle at each hit."""
    found = []
    for name, position in zip(hits.table["tomogram"], hits.positions_zyx, strict=True):
        planted = toy.truth.of(name)
        distance = np.linalg.norm(planted.positions_zyx - position, axis=1)
        assert distance.min() < 1, "a hit lies exactly on a planted particle, origin included"
        found.append(planted.labels[distance.argmin()])
    return np.array(found)


def test_two_classes_are_found_in_every_tomogram_with_average_precision_one(toy: Toy, tmp_path: Path) -> None:
    line, hits = _run(toy, tmp_path)
    assert len(hits) == len(toy.truth) == 48
    truth = _truth_of(toy, hits)
    assert (truth == hits.labels).all()
    scores = hits.column("score", 0)
    assert (np.diff(scores) <= 0).all()
    cube = np.where(hits.labels == "cube", scores, -1)
    assert average_precision_score(truth == "cube", cube) == pytest.approx(1)
    assert set(hits.tomograms) == {"TS_1", "TS_2"}
    assert line.startswith("48 hits (")
    assert "from 6 examples; left out: none; written to" in line


def test_hits_as_relion_star_come_back_at_their_places(toy: Toy, tmp_path: Path) -> None:
    _, hits = _run(toy, tmp_path, out=tmp_path / "hits.star")
    assert len(hits) == 48
    assert set(_truth_of(toy, hits)) == {"cube", "cross"}


def test_one_example_without_label_gives_one_class_ranked(toy: Toy, tmp_path: Path) -> None:
    row = int(np.flatnonzero(toy.truth.labels == "cross")[0])
    path = tmp_path / "one.csv"
    write_particles(path, Particles(toy.truth.select([row]).table[["tomogram", "z", "y", "x"]]))
    _, hits = _run(toy, tmp_path, examples=path)
    assert set(hits.labels) == {"particle"}
    assert average_precision_score(_truth_of(toy, hits) == "cross", hits.column("score", 0)) > 0.95


def test_top_min_score_and_leaving_examples_out(toy: Toy, tmp_path: Path) -> None:
    _, hits = _run(toy, tmp_path, top=5)
    assert sorted(hits.labels) == ["cross"] * 5 + ["cube"] * 5
    threshold = float(hits.column("score", 0).min())
    line, above = _run(toy, tmp_path, min_score=threshold)
    assert above.column("score", 0).min() >= np.float32(threshold)
    assert f"below --min-score {threshold:g}" in line
    line, others = _run(toy, tmp_path, include_examples=False)
    assert len(others) == 42
    assert "6 that are examples" in line


def test_negatives_sink(toy: Toy, tmp_path: Path) -> None:
    examples = _examples(toy, tmp_path / "cubes.csv", ("cube",))
    negatives = _examples(toy, tmp_path / "crosses.csv", ("cross",))
    _, without = _run(toy, tmp_path, examples=examples)
    _, hits = _run(toy, tmp_path, examples=examples, negatives=negatives)
    margin = [_margin(found, _truth_of(toy, found)) for found in (without, hits)]
    assert margin[1] > margin[0] + 0.05


def _margin(hits: Particles, truth: np.ndarray) -> float:
    scores = hits.column("score", 0)
    return float(scores[truth == "cube"].mean() - scores[truth == "cross"].mean())


def test_hits_that_joined_are_told_of_and_examples_are_not_among_them(
    toy: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    negatives = _examples(toy, tmp_path / "negatives.csv", ("cross",))
    examples = _examples(toy, tmp_path / "examples.csv", ("cube",))
    line, hits = _run(toy, tmp_path, examples=examples, negatives=negatives, scoring={"expand": 5})
    assert "; 5 hits of first-pass score 0." in line
    assert "joined cube" in line
    assert len(json.loads((tmp_path / "hits.csv.json").read_text())["joined_scores"]["cube"]) == 5
    cubes = int((toy.truth.labels == "cube").sum())
    assert (_truth_of(toy, hits)[:cubes] == "cube").all()
    assert not caplog.records
    line, hits = _run(toy, tmp_path, examples=examples, negatives=negatives, scoring={"expand": 1000})
    assert f"{cubes - 3} hits of first-pass score" in line  # three are examples, and no cross is like a cube
    assert f"no more than {cubes - 3} of cube" in caplog.text
    assert (_truth_of(toy, hits)[:cubes] == "cube").all()


def test_an_example_away_from_every_particle_is_embedded_where_it_lies(toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "between.csv"
    write_particles(path, Particles.from_arrays("TS_1", np.add([[190.0, 240.0, 320.0]], ORIGIN["TS_1"])))
    line, _ = _run(toy, tmp_path, examples=path, top=3)
    assert "1 with no particle of the store within" in line


def test_a_stored_particle_given_as_example_gets_its_stored_vector(toy: Toy, tmp_path: Path) -> None:
    config = QueryRecipeConfig(store=toy.store.path, examples=Path("x"), out=Path("y"), device="cpu")
    rows = [0, 5, 30, 47]
    vectors = embed_picks(config, toy.store, toy.truth.select(rows))
    np.testing.assert_allclose(vectors, toy.store.vectors()[rows], atol=1e-5)


def test_an_example_is_embedded_from_the_flattened_tomogram_where_the_store_was(toy: Toy, tmp_path: Path) -> None:
    flat = make(tmp_path, flatten=True)
    config = QueryRecipeConfig(store=flat.store.path, examples=Path("x"), out=Path("y"), device="cpu")
    rows = [0, 5, 30, 47]
    vectors = embed_picks(config, flat.store, flat.truth.select(rows))
    np.testing.assert_allclose(vectors, flat.store.vectors()[rows], atol=1e-5)
    assert flat.store.key.input.flatten
    assert flat.store.key.model_hash != toy.store.key.model_hash, "the same tensors read another input"


def test_in_a_masked_store_the_instance_at_the_place_masks_the_example(tmp_path: Path) -> None:
    masked = make(tmp_path, mask="strict")
    config = QueryRecipeConfig(store=masked.store.path, examples=Path("x"), out=Path("y"), device="cpu")
    vectors = embed_picks(config, masked.store, masked.truth.select([3, 40]))
    np.testing.assert_allclose(vectors, masked.store.vectors()[[3, 40]], atol=1e-5)


def test_same_query_same_file(toy: Toy, tmp_path: Path) -> None:
    _run(toy, tmp_path, out=tmp_path / "a.star")
    _run(toy, tmp_path, out=tmp_path / "b.star")
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tomogram,z,y,x\n", "holds no picks; examples need at least one"),
        ("tomogram,z,y,x\nTS_11,1,1,1\n", "tomogram 'TS_11' is not in the store; did you mean 'TS_1'"),
        ("tomogram,z,y,x\nTS_2,100,100,100\nTS_2,100,100,5000\n", "1 of 2 picks lie outside 'TS_2': rows 2; .* 0..950"),
        ("tomogram,z,y,x\nTS_1,100,100,100\n", r"outside 'TS_1'.* 720..1110, 960..1910.* one frame"),
        ("tomogram,z,y,x,label\nTS_2,100,100,100,a\nTS_2,100,100,100,\n", "rows 2 have no label"),
    ],
)
def test_examples_that_cannot_be_used_are_refused_and_nothing_is_written(
    toy: Toy, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "examples.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        _run(toy, tmp_path, examples=path)
    assert not (tmp_path / "hits.csv").exists()


def test_a_threshold_that_leaves_nothing_is_an_error_that_says_the_best_score(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"48 below --min-score 1\); the best score is 0\.\d+.* lower --min-score"):
        _run(toy, tmp_path, min_score=1.0)
    assert not (tmp_path / "hits.csv").exists()


def test_an_empty_store_is_an_error(toy: Toy, tmp_path: Path) -> None:
    EmbeddingStore.create(tmp_path / "empty", toy.store.key)
    with pytest.raises(InputError, match="holds no particles"):
        _run(toy, tmp_path, store=tmp_path / "empty")


def test_other_weights_are_refused(toy: Toy, tmp_path: Path) -> None:
    card = load_weights(toy.weights).card
    save_weights(tmp_path / "other.safetensors", build(card.network), card)
    with pytest.raises(InputError, match="a store made by another model"):
        _run(toy, tmp_path, weights=str(tmp_path / "other.safetensors"))


def test_a_tomogram_that_changed_or_moved_is_noticed_and_can_be_shown(tmp_path: Path) -> None:
    toy = make(tmp_path)
    moved = tmp_path / "elsewhere" / "TS_1.mrc"
    moved.parent.mkdir()
    (tmp_path / "TS_1.mrc").rename(moved)
    with pytest.raises(InputError, match=r"'TS_1' was indexed from .* which is gone"):
        _run(toy, tmp_path)
    assert len(_run(toy, tmp_path, tomograms=(moved,))[1]) == 48
    write_mrc(tmp_path / "TS_1.mrc", np.asarray(read_tomogram(moved).data) * 2, 10.0)
    with pytest.raises(InputError, match="no longer the file that was indexed"):
        _run(toy, tmp_path)


def test_the_question_travels_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "query.yaml"
    path.write_text("store: s\nexamples: e.csv\nout: o.star\ntop: 5\nscoring: {space: centred}\n")
    assert load_config(QueryRecipeConfig, path).scoring.space == "centred"
    with pytest.raises(InputError, match="did you mean 'min_score'"):
        load_config(QueryRecipeConfig, path, ["min_scor=0.5"])


def test_hits_in_a_cropped_frame_come_back_from_a_star_file_by_way_of_the_store(
    toy: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = _examples(toy, tmp_path / "examples.csv")
    settings = {"store": toy.store.path, "examples": examples}
    for name in ("hits.csv", "hits.star"):
        query(QueryRecipeConfig(**settings, out=tmp_path / name))
    assert any("--tomograms-star" in record.getMessage() for record in caplog.records)  # a crop's centre is its own
    convert(ConvertConfig(picks=tmp_path / "hits.star", out=tmp_path / "back.csv", store=toy.store.path))
    back, hits = (read_particles(tmp_path / name) for name in ("back.csv", "hits.csv"))
    assert back.table["tomogram"].tolist() == hits.table["tomogram"].tolist()
    np.testing.assert_allclose(back.positions_zyx, hits.positions_zyx, atol=1e-3)
