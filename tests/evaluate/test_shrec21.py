import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.evaluate.shrec21 import (
    AS_EXECUTED,
    SIZE_GROUPS,
    ClassScore,
    Shrec21Config,
    Shrec21Score,
    combine,
    score_shrec21,
)
from cryoembed.particles import EXTENDED, Particles
from cryoembed.tomogram import Tomogram

VOXEL = 10.0
# id: 1 ribosome, 2 proteasome, 3 vesicle (one voxel of membrane), 4 4V94, 5 fiducial, never hit
CENTRES = np.array([[5, 5, 5], [5, 5, 15], [5, 15, 5], [5, 15, 15], [15, 15, 15]])
LABELS = ["5MRC", "4CR2", "vesicle", "4V94", "fiducial"]
TRUTH = Particles.from_arrays("model_0", CENTRES * VOXEL, label=LABELS)


@pytest.fixture
def occupancy():
    volume = np.zeros((20, 20, 20), np.int16)
    for number, (z, y, x) in enumerate(CENTRES, start=1):
        volume[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = number
    return Tomogram(volume, VOXEL, "model_0")


def picks(voxels, labels):
    return Particles.from_arrays("model_0", np.asarray(voxels, float).reshape(-1, 3) * VOXEL, label=labels)


# Table 3: RR, TP, recall, precision, miss rate, F1. YOPO's printed recall .720 contradicts its miss rate and its F1.
TABLE_3 = {
    "URFinder": (1969, 1298, 0.826, 0.659, 0.174, 0.733),
    "DeepFinder": (1567, 1362, 0.867, 0.869, 0.133, 0.868),
    "U-CLSTM": (1460, 1253, 0.798, 0.858, 0.202, 0.827),
    "MC DS Net": (1760, 1415, 0.901, 0.804, 0.099, 0.850),
    "YOPO": (1627, 1224, 0.779, 0.752, 0.221, 0.765),
    "CFN": (1765, 1364, 0.868, 0.773, 0.132, 0.818),
    "TM-F": (1772, 963, 0.613, 0.543, 0.387, 0.576),
    "TM": (4195, 1073, 0.683, 0.256, 0.317, 0.372),
}


@pytest.mark.parametrize("name", TABLE_3)
def test_ratios_of_table_3_follow_from_its_counts(name):
    rr, tp, recall, precision, miss_rate, f1 = TABLE_3[name]
    score = Shrec21Score(rr=rr, tp=tp, fp=0, fn=1571 - tp, mh=0, n_truth=1571)
    found = (score.recall, score.precision, score.miss_rate, score.f1)
    assert found == pytest.approx((recall, precision, miss_rate, f1), abs=0.00051)


def test_size_groups_of_table_6_are_means_of_table_4():
    names = [name for group in SIZE_GROUPS.values() for name in group]
    deepfinder = [402, 481, 517, 701, 716, 766, 737, 964, 989, 953, 974, 996]  # F1 in thousandths
    # with tp = f and fp = fn = 1000 - f, F1 is f thousandths
    classes = {name: ClassScore(f, 1000 - f, 1000 - f) for name, f in zip(names, deepfinder, strict=True)}
    score = Shrec21Score(rr=0, tp=0, fp=0, fn=0, mh=0, n_truth=0, per_class=classes)
    assert score.group_f1 == pytest.approx({"small": 0.563, "medium": 0.882, "large": 0.985}, abs=0.0006)


def test_a_scene_with_every_case(occupancy):
    reported = picks(
        [[5, 5, 6], [5, 5, 5], [5, 5, 15], [10, 10, 10], [5, 15, 5], [5, 15, 15], [40, 5, 5]],
        ["5mrc", "4CR2", "5MRC", "5MRC", "5MRC", "4V94", "5MRC"],
    )  # hit, second hit, wrong class, background, vesicle, 4v94, outside
    score = score_shrec21(reported, TRUTH, occupancy)
    assert (score.rr, score.tp, score.fp, score.fn, score.mh) == (7, 2, 2, 1, 1)
    assert (score.n_truth, score.n_outside, score.n_left_out) == (3, 1, 2)
    assert score.ad == pytest.approx((1 + 0) / 2)  # first hits only, in voxels
    assert score.recall == pytest.approx(2 / 3)
    assert score.precision == pytest.approx(2 / 7)
    assert score.per_class == {
        "4cr2": ClassScore(tp=0, fp=0, fn=1),
        "5mrc": ClassScore(tp=1, fp=1, fn=0),
        "fiducial": ClassScore(tp=0, fp=0, fn=1),
    }
    assert score.per_class["5mrc"].f1 == pytest.approx(2 / 3)


def test_class_and_distance_come_from_the_first_hit_in_file_order(occupancy):
    first, second = [5, 5, 6], [5, 5, 5]
    right_first = score_shrec21(picks([first, second], ["5MRC", "4CR2"]), TRUTH, occupancy)
    wrong_first = score_shrec21(picks([second, first], ["4CR2", "5MRC"]), TRUTH, occupancy)
    assert (right_first.per_class["5mrc"].tp, right_first.ad) == (1, 1.0)
    assert (wrong_first.per_class["5mrc"].tp, wrong_first.ad) == (0, 0.0)
    assert wrong_first.per_class["4cr2"].fp == 1


def test_hits_on_background_never_enter_classification(occupancy):
    score = score_shrec21(picks([[5, 5, 5], [0, 0, 0], [19, 0, 0]], ["5MRC"] * 3), TRUTH, occupancy)
    assert score.per_class["5mrc"].f1 == 1
    assert score.precision == pytest.approx(1 / 3)


def test_claiming_a_class_that_is_not_scored_is_a_miss_only(occupancy):
    score = score_shrec21(picks([[5, 5, 5]], ["4V94"]), TRUTH, occupancy)
    assert score.tp == 1
    assert score.per_class["5mrc"] == ClassScore(tp=0, fp=0, fn=1)


def test_positions_are_rounded_to_the_voxel_that_holds_them(occupancy):
    assert score_shrec21(picks([[5, 5, 6.49]], ["5MRC"]), TRUTH, occupancy).tp == 1
    assert score_shrec21(picks([[5, 5, 6.51]], ["5MRC"]), TRUTH, occupancy).tp == 0


def test_the_programs_habits_are_settings(occupancy):
    beside = picks([[5, 5, 7], [5, 6, 7], [7, 7, 7]], ["5MRC"] * 3)  # the corner at (7, 7, 7) is three steps away
    assert score_shrec21(beside, TRUTH, occupancy).tp == 0
    executed = score_shrec21(beside, TRUTH, occupancy, config=AS_EXECUTED)
    assert (executed.tp, executed.mh, executed.fp) == (1, 1, 1)
    assert executed.n_truth == 4  # the vesicle stays in the denominator, never to be found
    assert executed.tp + executed.fn == 3


def test_picks_beyond_the_border_are_clamped_only_on_request():
    volume = np.zeros((4, 4, 4), np.int16)
    volume[0, 0, 0] = 1
    frame = Tomogram(volume, VOXEL, "model_0")
    truth = Particles.from_arrays("model_0", [[0, 0, 0]], label=["5MRC"])
    reported = picks([[-3, 0, 0], [3, 3, 3]], ["5MRC", "5MRC"])
    assert score_shrec21(reported, truth, frame).tp == 0
    assert score_shrec21(reported, truth, frame, config=Shrec21Config(clamp_outside=True)).tp == 1


def test_4v94_counts_when_asked(occupancy):
    score = score_shrec21(picks([[5, 15, 15]], ["4V94"]), TRUTH, occupancy, config=Shrec21Config(left_out=("vesicle",)))
    assert (score.tp, score.n_truth, score.per_class["4v94"].f1) == (1, 4, 1)


def test_the_crop_s_origin_moves_the_frame(occupancy):
    moved = Tomogram(occupancy.data, VOXEL, "model_0", origin=(1700.0, 0.0, 0.0))
    truth = TRUTH.with_columns(z=TRUTH.table["z"] + 1700.0)
    reported = picks(CENTRES + np.array([170, 0, 0]), LABELS)
    assert score_shrec21(reported, truth, moved).recall == 1


def test_picks_of_another_frame_are_refused(occupancy):
    with pytest.raises(InputError, match="not in one frame"):
        score_shrec21(picks(CENTRES + np.array([165, 0, 0]), LABELS), TRUTH, occupancy)


def test_no_picks_score_nothing(occupancy):
    score = score_shrec21(Particles.empty(), TRUTH, occupancy)
    assert (score.rr, score.tp, score.fn, score.f1, score.ad) == (0, 0, 3, 0, None)


def test_tomograms_add_up(occupancy):
    one = score_shrec21(picks([[5, 5, 6]], ["5MRC"]), TRUTH, occupancy)
    two = score_shrec21(picks([[5, 5, 15], [5, 5, 5]], ["4CR2", "4CR2"]), TRUTH, occupancy)
    total = combine([one, two])
    assert (total.rr, total.tp, total.fn, total.n_truth) == (3, 3, 3, 6)
    assert total.ad == pytest.approx((1 + 0 + 0) / 3)
    assert total.per_class["5mrc"] == ClassScore(tp=1, fp=0, fn=1)


@pytest.mark.parametrize("label", sorted(EXTENDED))
def test_picks_on_extended_objects_count_neither_way(occupancy, label):
    labels = [label if name == "vesicle" else name for name in LABELS]
    truth = TRUTH.with_columns(label=labels)
    same = score_shrec21(picks([[5, 5, 5], [5, 15, 5]], ["5MRC", "x"]), TRUTH, occupancy)
    score = score_shrec21(picks([[5, 5, 5], [5, 15, 5]], ["5MRC", "x"]), truth, occupancy)
    assert score == same
