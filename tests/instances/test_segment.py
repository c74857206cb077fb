from __future__ import annotations

import itertools

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.instances.measure import measure
from cryoembed.instances.segment import InstanceConfig, segment_instances

from .scenes import balls, foam, maps, shell

EVERYTHING = InstanceConfig(min_volume_A3=0)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("radius", [4.0, 7.0, 12.0])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_two_touching_balls_are_two_instances(radius: float, noise: float) -> None:
    truth = balls((32, 32, 64), [(16, 16, 16), (16, 16, 15 + 2 * radius)], [radius, radius])
    found = segment_instances(*maps(truth, generator(), noise), InstanceConfig())
    assert found.dtype == np.int32
    assert found.max() == 2
    assert adapted_rand_error(truth, found)[0] < 0.05


def test_touching_balls_are_split_by_their_neck_alone_where_the_boundary_map_is_faint() -> None:
    truth = balls((32, 32, 48), [(16, 16, 14), (16, 16, 30)], [8, 8])
    distance, boundary, foreground = maps(truth, generator())
    assert segment_instances(distance, 0.4 * boundary, foreground, EVERYTHING).max() == 2


def test_a_small_ball_on_a_large_one_is_kept_apart() -> None:
    truth = balls((40, 40, 56), [(20, 20, 18), (20, 20, 36)], [13, 5])
    found = segment_instances(*maps(truth, generator(), 0.3), InstanceConfig())
    assert found.max() == 2
    assert adapted_rand_error(truth, found)[0] < 0.05


@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_the_scale_of_the_distance_map_does_not_matter(scale: float) -> None:
    truth = balls((32, 32, 64), [(16, 16, 16), (16, 16, 30), (12, 12, 50)], [7, 7, 6])
    distance, boundary, foreground = maps(truth, generator(), 0.3)
    expected = segment_instances(distance, boundary, foreground, EVERYTHING)
    np.testing.assert_array_equal(segment_instances(scale * distance, boundary, foreground, EVERYTHING), expected)


BORDER_SHAPE = (30, 36, 42)
BORDERS = list(itertools.product(*[(0, size // 2, size - 1) for size in BORDER_SHAPE]))


@pytest.mark.parametrize("centre", BORDERS)
def test_a_ball_at_every_border_and_corner_is_kept_at_its_place(centre: tuple[int, int, int]) -> None:
    truth = balls(BORDER_SHAPE, [centre], [6])
    found = segment_instances(*maps(truth, generator(), 0.2), EVERYTHING)
    particles = measure(found, 10.0, tomogram="t")
    assert len(particles) == 1
    visible = np.argwhere(truth).mean(axis=0) * 10.0  # of the part inside the volume
    assert np.abs(particles.positions_zyx - visible).max() < 5.0


@pytest.mark.parametrize(("inner", "outer"), [(4, 8), (8, 14), (14, 18), (22, 26)])
def test_a_hollow_shell_is_one_instance_around_its_centre(inner: float, outer: float) -> None:
    size = int(2 * outer + 8)
    found = segment_instances(*maps(shell(size, inner, outer), generator(), 0.3), InstanceConfig())
    assert found.max() == 1
    assert found[size // 2, size // 2, size // 2] == 1  # the cavity belongs to it
    centre = measure(found, 1.0, tomogram="t").positions_zyx[0]
    assert np.abs(centre - size // 2).max() < 0.5


@pytest.mark.parametrize(("inner", "outer"), [(8, 14), (14, 18), (22, 26)])
def test_a_shell_whose_caps_the_missing_wedge_took_is_one_instance(inner: float, outer: float) -> None:
    truth = shell(int(2 * outer + 8), inner, outer, open_above=0.6 * outer)
    assert segment_instances(*maps(truth, generator(), 0.3), InstanceConfig()).max() == 1


def test_what_is_inside_a_vesicle_stays_itself() -> None:
    truth = shell(60, 22, 26)
    truth[balls((60, 60, 60), [(30, 30, 30)], [8]) > 0] = 2
    found = segment_instances(*maps(truth, generator()), InstanceConfig())
    assert found.max() == 2
    assert adapted_rand_error(truth, found)[0] < 0.01


def test_multicut_mends_the_over_segmentation_of_a_foam() -> None:
    truth = foam(80, 64, generator())
    images = maps(truth, generator(), 0.6)
    errors, counts = {}, {}
    for use in (False, True):
        found = segment_instances(
            *images, InstanceConfig(min_volume_A3=0, seed_sigma_vox=1, seed_distance_vox=2, use_multicut=use)
        )
        errors[use], counts[use] = adapted_rand_error(truth, found)[0], int(found.max())
    assert counts[False] > 100
    assert abs(counts[True] - 80) <= 6
    assert errors[True] < 0.8 * errors[False]
    assert errors[True] < 0.06


def test_a_long_rod_is_one_instance() -> None:
    grid = np.indices((24, 24, 90))
    rod = ((grid[0] - 12) ** 2 + (grid[1] - 12) ** 2 <= 36) & (np.abs(grid[2] - 45) < 38)
    assert segment_instances(*maps(rod.astype(np.int32), generator(), 0.3), InstanceConfig()).max() == 1


def test_volume_limits_are_in_cubic_angstrom_and_labels_have_no_gaps() -> None:
    truth = balls((40, 40, 80), [(20, 20, 10), (20, 20, 30), (20, 20, 60)], [3, 7, 15])
    images = maps(truth, generator())
    volumes = np.bincount(truth.ravel())[1:] * 5.0**3
    config = InstanceConfig(min_volume_A3=1.1 * volumes[0], max_volume_A3=0.9 * volumes[2])
    found = segment_instances(*images, config, voxel_size=5.0)
    assert set(np.unique(found)) == {0, 1}
    assert found[20, 20, 30] == 1


def test_no_foreground_gives_no_instances_and_all_foreground_gives_one() -> None:
    empty = np.zeros((16, 16, 16), dtype=np.float32)
    assert segment_instances(empty, empty, empty, EVERYTHING).max() == 0
    full = np.ones((16, 16, 16), dtype=np.float32)
    assert segment_instances(full, empty, full, EVERYTHING).max() == 1


def test_half_precision_memory_maps_give_the_same_instances(tmp_path) -> None:
    truth = balls((32, 32, 64), [(16, 16, 16), (16, 16, 30)], [7, 7])
    images = maps(truth, generator())
    mapped = []
    for index, image in enumerate(images):
        np.save(tmp_path / f"{index}.npy", image.astype(np.float16))
        mapped.append(np.load(tmp_path / f"{index}.npy", mmap_mode="r"))
    found = segment_instances(mapped[0], mapped[1], mapped[2], EVERYTHING)
    assert adapted_rand_error(segment_instances(*images, EVERYTHING), found)[0] < 1e-3


def test_same_maps_give_the_same_labels() -> None:
    images = maps(foam(40, 40, generator()), generator(), 0.5)
    np.testing.assert_array_equal(segment_instances(*images, EVERYTHING), segment_instances(*images, EVERYTHING))


def test_maps_of_unequal_shape_and_reversed_limits_are_refused() -> None:
    map_ = np.zeros((8, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="unequal shapes"):
        segment_instances(map_, map_[1:], map_, EVERYTHING)
    with pytest.raises(InputError, match="must exceed"):
        load_config(InstanceConfig, overrides=["max_volume_A3=10", "min_volume_A3=20"])
