import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.evaluate.truth import check_truth
from cryoembed.particles import EXTENDED, Particles
from cryoembed.tomogram import Tomogram

VOXEL = 10.0


@pytest.fixture
def scene():
    """27 balls of radius 3 voxels, ids in list order, and a hollow ring as the last one."""
    grid = np.stack(np.meshgrid(*[[8, 20, 32]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = np.zeros((40, 40, 40), np.float32)
    z, y, x = np.indices(volume.shape)
    for number, centre in enumerate(grid, start=1):
        apart = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
        shell = (apart <= 3) & (apart > (1.5 if number == 27 else -1))
        volume[shell] = number
    truth = Particles.from_arrays("model_0", grid * VOXEL, label=["5MRC"] * 27)
    return truth, Tomogram(volume, VOXEL, "model_0")


def test_a_truth_that_agrees_with_itself_passes(scene):
    found = check_truth(*scene)
    assert found.own_id_share == 1  # the hollow ring too
    assert found.median_distance_vox < 1e-6


def test_a_cropped_mask_with_an_uncropped_list_is_refused_and_the_shift_named(scene):
    truth, occupancy = scene
    cropped = Tomogram(occupancy.data[4:], VOXEL, "model_0")
    with pytest.raises(InputError, match=r"\(-4\.0, 0\.0, 0\.0\) voxels"):
        check_truth(truth, cropped)
    check_truth(truth, Tomogram(occupancy.data[4:], VOXEL, "model_0", origin=(40.0, 0.0, 0.0)))


def test_a_shuffled_list_is_refused(scene):
    truth, occupancy = scene
    with pytest.raises(InputError, match="do not belong together"):
        check_truth(truth.select(np.roll(np.arange(27), 1)), occupancy)


def test_ids_beyond_the_list_are_refused(scene):
    truth, occupancy = scene
    with pytest.raises(InputError, match="holds id 27"):
        check_truth(truth.select(np.arange(20)), occupancy)


def test_volumes_of_another_shape_or_scale_are_refused(scene):
    truth, occupancy = scene
    with pytest.raises(InputError, match="shapes differ"):
        check_truth(truth, occupancy, Tomogram(occupancy.data[:30], VOXEL, "class_mask"))
    with pytest.raises(InputError, match="differ in voxel size"):
        check_truth(truth, occupancy, Tomogram(occupancy.data, 5.0, "class_mask"))
    with pytest.raises(InputError, match="differ in origin"):
        check_truth(truth, occupancy, Tomogram(occupancy.data, VOXEL, "class_mask", origin=(10.0, 0.0, 0.0)))


def test_an_empty_list_is_refused(scene):
    with pytest.raises(InputError, match="no particles"):
        check_truth(Particles.empty(), scene[1])


def test_an_instance_column_gives_the_ids(scene):
    truth, occupancy = scene
    order = np.roll(np.arange(27), 1)
    check_truth(truth.select(order).with_columns(instance=order + 1), occupancy)


@pytest.mark.parametrize("label", sorted(EXTENDED))
def test_extended_objects_need_no_centroid_at_their_position(scene, label):
    """Most rows are filaments whose ids stand elsewhere; the one particle is right."""
    truth, occupancy = scene
    far = truth.positions_zyx.copy()
    far[1:] = 0
    labels = ["5MRC", *[label.upper()] * 26]
    assert check_truth(Particles.from_arrays("model_0", far, label=labels), occupancy).n_checked == 1
    with pytest.raises(InputError, match="no particle to score"):
        check_truth(truth.with_columns(label=[label] * 27), occupancy)
