import json

import numpy as np
import pytest

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io.formats import write_particles
from cryoembed.io.shrec import write_model
from cryoembed.io.tomogram_info import TomogramInfo
from cryoembed.particles import Particles
from cryoembed.recipes.evaluate import EvaluateConfig, evaluate

VOXEL = 10.0
CENTRES = np.array([[6, 6, 6], [6, 6, 18], [6, 18, 6], [18, 18, 18]])
LABELS = ["5MRC", "4CR2", "5MRC", "vesicle"]


@pytest.fixture
def dataset(tmp_path):
    """Two models of four balls each; the exact positions lie 0.3 voxels beside the rounded ones."""
    exact = []
    for number in range(2):
        occupancy = np.zeros((24, 24, 24), np.int32)
        for instance, (z, y, x) in enumerate(CENTRES, start=1):
            occupancy[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = instance
        name = f"model_{number}"
        particles = Particles.from_arrays(name, (CENTRES + 0.3) * VOXEL, label=LABELS)
        density = (occupancy > 0).astype(np.float32)
        write_model(
            tmp_path / "data" / name,
            reconstruction=density,
            grandmodel=density,
            class_mask=density.astype(np.int8),
            occupancy_mask=occupancy,
            particles=particles,
            voxel_size=VOXEL,
        )
        exact.append(particles.with_columns(mass_kda=[3000.0, 1300.0, 400.0, 0.0]))
    write_particles(tmp_path / "data" / "model_0" / "particles.parquet", exact[0])  # beside the list, or for all
    write_particles(tmp_path / "data" / "particles.parquet", exact[1])
    return tmp_path / "data"


def hits(path, voxels, names, labels, **columns):
    particles = Particles.from_arrays(names, np.asarray(voxels, float) * VOXEL, label=labels, **columns)
    info = {
        name: TomogramInfo(name=name, size_zyx_px=(24, 24, 24), pixel_size=VOXEL) for name in set(particles.tomograms)
    }
    write_particles(path, particles, tomograms=info)
    return path


def test_distance_uses_the_exact_positions_of_the_data_set(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES[:3] + 0.3, "model_0", LABELS[:3], score=[3.0, 2.0, 1.0])
    out = tmp_path / "scores.json"
    text = evaluate(EvaluateConfig(picks=picks, truth=dataset, radius=30, per_class=True, out=out))
    score = json.loads(out.read_text())["score"]
    assert (score["tp"], score["fp"], score["fn"]) == (3, 0, 3)  # model_1 was not picked; vesicles are not asked for
    assert score["mean_distance"] == pytest.approx(0, abs=1e-3)
    assert score["per_class"]["5MRC"]["recall"] == 0.5
    assert "scored 3 of 3 picks by distance" in text
    assert "no picks in model_1" in text
    assert str(out) in text


def test_shrec21_scores_a_data_set_and_each_of_its_tomograms(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", [[6, 6, 8], [6, 6, 18], [12, 12, 12]], "model_1", ["5MRC", "5MRC", "4CR2"])
    out = tmp_path / "scores.json"
    text = evaluate(EvaluateConfig(picks=picks, truth=dataset, rule="shrec21", out=out))
    score = json.loads(out.read_text())["score"]
    assert (score["rr"], score["tp"], score["fp"], score["fn"], score["n_truth"]) == (3, 2, 1, 4, 6)
    assert score["per_class"]["5mrc"] == {"tp": 1, "fp": 1, "fn": 3, "f1": pytest.approx(2 / 6)}
    assert score["tomograms"]["model_1"]["recall"] == pytest.approx(2 / 3)
    assert score["tomograms"]["model_0"]["recall"] == 0
    assert "precision" in text


def test_one_model_folder_is_a_truth_as_well(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES[:3], "model_1", LABELS[:3])
    text = evaluate(EvaluateConfig(picks=picks, truth=dataset / "model_1", rule="shrec21"))
    assert "1.000" in text
    assert "scored 3 of 3 picks by shrec21" in text


def test_relion_5_picks_find_their_frame_in_the_truth(tmp_path, dataset):
    picks = hits(tmp_path / "p.star", CENTRES[:3] + 0.3, "model_0", LABELS[:3])
    out = tmp_path / "s.json"
    evaluate(EvaluateConfig(picks=picks, truth=dataset / "model_0", radius=10, out=out))
    assert json.loads(out.read_text())["score"]["f1"] == 1


def test_picks_in_tomograms_without_truth_are_skipped_and_said_so(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES, ["model_0", "model_0", "other", "other"], LABELS)
    text = evaluate(EvaluateConfig(picks=picks, truth=dataset, radius=30))
    assert "scored 2 of 4 picks by distance, skipped 2 (2 in tomograms without truth)" in text


def test_doubtful_particles_traps_and_a_region_are_kept_apart(tmp_path):
    positions = [[0, 0, 0], [0, 0, 30], [0, 0, 60], [0, 0, 90], [0, 90, 0]]
    truth = hits(
        tmp_path / "t.csv", positions, "a", ["x"] * 5, tier=["likely", "ambiguous", "gold", "outside", "likely"]
    )
    picks = hits(tmp_path / "p.csv", [*positions, [0, 0, 120], [0, 95, 60]], "a", ["x"] * 7)
    out = tmp_path / "s.json"
    config = load_config(
        EvaluateConfig,
        overrides=["region.y=[null, 850]", "label_column=tier", f"picks={picks}", f"truth={truth}", f"out={out}"],
    )
    text = evaluate(config)
    score = json.loads(out.read_text())["score"]
    # 5 picks inside: 1 hit, 1 doubtful, gold, outside and nothing are wrong
    assert (score["n_truth"], score["tp"], score["fp"], score["n_ignored"]) == (1, 1, 3, 1)
    assert score["traps"] == {"gold": 1, "outside": 1}
    assert "2 outside the region" in text


def test_only_the_labels_asked_for_are_to_be_found(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES[:3], "model_0", LABELS[:3])
    out = tmp_path / "s.json"
    evaluate(EvaluateConfig(picks=picks, truth=dataset / "model_0", radius=30, labels=("4CR2",), out=out))
    score = json.loads(out.read_text())["score"]
    assert (score["n_truth"], score["tp"], score["fp"]) == (1, 1, 2)


def test_light_particles_count_neither_way_when_a_mass_is_set(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES[:3], "model_1", LABELS[:3])
    out = tmp_path / "s.json"
    evaluate(EvaluateConfig(picks=picks, truth=dataset, radius=30, min_mass_kda=500, tomograms=("model_1",), out=out))
    score = json.loads(out.read_text())["score"]
    assert (score["n_truth"], score["tp"], score["fp"], score["n_ignored"]) == (2, 2, 0, 1)


def test_only_the_tomograms_asked_for_are_scored(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES[:3], "model_1", LABELS[:3])
    for rule in ("distance", "shrec21"):
        text = evaluate(EvaluateConfig(picks=picks, truth=dataset, rule=rule, tomograms=("model_1",)))
        assert "no picks in" not in text


@pytest.mark.parametrize("rule", ["distance", "shrec21"])
def test_another_tomogram_s_name_is_refused_with_both_names(tmp_path, dataset, rule):
    picks = hits(tmp_path / "p.csv", CENTRES, "TS_01", LABELS)
    with pytest.raises(InputError, match=r"picks are of TS_01, the truth is of model_0, model_1"):
        evaluate(EvaluateConfig(picks=picks, truth=dataset, rule=rule))


def test_no_picks_are_refused_and_nothing_is_written(tmp_path, dataset):
    empty = tmp_path / "p.csv"
    empty.write_text("tomogram,z,y,x\n")
    with pytest.raises(InputError, match="no picks"):
        evaluate(EvaluateConfig(picks=empty, truth=dataset, out=tmp_path / "s.json"))
    assert not (tmp_path / "s.json").exists()


def test_an_empty_or_missing_truth_is_refused(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES, "model_0", LABELS)
    (tmp_path / "t.csv").write_text("tomogram,z,y,x\n")
    for truth, said in ((tmp_path / "t.csv", "no particles"), (tmp_path / "none", "does not exist")):
        with pytest.raises(InputError, match=said):
            evaluate(EvaluateConfig(picks=picks, truth=truth))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="neither model_N folders"):
        evaluate(EvaluateConfig(picks=picks, truth=tmp_path / "folder"))


def test_missing_picks_are_refused(tmp_path, dataset):
    with pytest.raises(InputError, match="does not exist"):
        evaluate(EvaluateConfig(picks=tmp_path / "none.star", truth=dataset))


def test_shrec21_needs_a_shrec_folder(tmp_path, dataset):
    picks = hits(tmp_path / "p.csv", CENTRES, "model_0", LABELS)
    with pytest.raises(InputError, match="no SHREC folder"):
        evaluate(EvaluateConfig(picks=picks, truth=picks, rule="shrec21"))


def test_a_truth_that_contradicts_itself_is_refused_before_scoring(tmp_path, dataset):
    locations = dataset / "model_0" / "particle_locations.txt"
    lines = [line.split() for line in locations.read_text().splitlines()]
    locations.write_text("".join(" ".join([n, x, y, str(int(z) + 9), *rest]) + "\n" for n, x, y, z, *rest in lines))
    picks = hits(tmp_path / "p.csv", CENTRES, "model_0", LABELS)
    with pytest.raises(InputError, match="do not belong together"):
        evaluate(EvaluateConfig(picks=picks, truth=dataset / "model_0", rule="shrec21"))
