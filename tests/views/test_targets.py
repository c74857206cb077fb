"""Targets of the instance head on volumes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.semantic import IGNORED, SEMANTIC_CLASSES
from cryoembed.simulate.scene.truth import STRUCTURES
from cryoembed.views.targets import instance_targets, semantic_classes, semantic_distance

GRID = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return ((GRID - np.array(centre)) ** 2).sum(-1) <= radius**2


def touching_balls() -> np.ndarray:
    ids = np.zeros((32, 32, 32), dtype=np.int32)
    ids[ball((16, 16, 9), 6.5)] = 4
    ids[ball((16, 16, 22), 6.5)] = 9
    return ids


def test_touching_balls_each_peak_at_their_own_centre() -> None:
    ids = touching_balls()
    assert ids[16, 16, 15] == 4
    assert ids[16, 16, 16] == 9
    targets = instance_targets(ids)
    assert targets.distance[16, 16, 9] == targets.distance[16, 16, 22] == 1.0
    assert targets.distance[16, 16, 15] < 0.2
    assert targets.distance.max() == 1.0
    assert not targets.distance[ids == 0].any()


def test_boundary_separates_touching_balls_and_is_thin() -> None:
    ids = touching_balls()
    targets = instance_targets(ids)
    assert targets.boundary[16, 16, 15]
    assert targets.boundary[16, 16, 16]
    assert not targets.boundary[16, 16, 9]
    assert not targets.boundary[16, 16, 13]
    assert not targets.boundary[ids == 0].any()
    assert (targets.foreground == (ids > 0)).all()


def test_small_and_large_particles_reach_the_same_depth() -> None:
    ids = np.zeros((32, 32, 32), dtype=np.int32)
    ids[ball((8, 8, 8), 2.5)] = 1
    ids[ball((20, 20, 20), 9)] = 2
    distance = instance_targets(ids).distance
    assert distance[ids == 1].max() == distance[ids == 2].max() == 1.0


def test_hollow_shell_is_deepest_inside_its_wall() -> None:
    ids = (ball((16, 16, 16), 12) & ~ball((16, 16, 16), 5)).astype(np.int32)
    targets = instance_targets(ids)
    assert targets.distance[16, 16, 16] == 0
    assert not targets.foreground[16, 16, 16]
    radius = np.sqrt(((np.argwhere(targets.distance > 0.9) - 16) ** 2).sum(1))
    assert radius.min() > 7
    assert radius.max() < 10
    assert targets.boundary[16, 16, 16 + 6]


@pytest.mark.parametrize("ids", [np.zeros((4, 4, 4), np.int32), np.full((4, 4, 4), 7, np.int32)])
def test_volumes_without_any_boundary_are_finite(ids: np.ndarray) -> None:
    targets = instance_targets(ids)
    assert np.isfinite(targets.distance).all()
    assert not targets.boundary.any()


def test_every_label_of_the_simulator_has_its_class_and_gold_none() -> None:
    labels = ("ribosome_70s", *STRUCTURES)
    mask = np.arange(len(labels) + 2).reshape(1, 1, -1)  # with a number that no label has
    found = semantic_classes(mask, labels)[0, 0]
    names = ["ignored" if number == IGNORED else SEMANTIC_CLASSES[number] for number in found]
    assert dict(zip(("background", *labels, "unnamed"), names, strict=True)) == {
        "background": "background",
        "ribosome_70s": "particle",
        "vesicle": "membrane",
        "membrane": "membrane",
        "microtubule": "microtubule",
        "actin": "actin",
        "dna": "dna",
        "mrna": "dna",
        "nucleosome": "particle",
        "fiducial": "ignored",
        "unnamed": "ignored",
    }


def test_semantic_distance_counts_from_the_background_across_classes_and_ends_at_one() -> None:
    classes = np.zeros((1, 1, 30), dtype=np.uint8)
    classes[..., 5:12], classes[..., 12:25] = 1, 2
    distance = semantic_distance(np.broadcast_to(classes, (30, 30, 30)), 10.0)[15, 15]
    np.testing.assert_allclose(distance[3:10], [0, 0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert (distance[9:21] == 1).all()
