"""The endless data set: the same items whoever makes them, with truth that belongs to them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cryoembed.errors import InputError
from cryoembed.semantic import SEMANTIC_CLASSES
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.views.scene_crops import TARGETS
from cryoembed.views.scenes import SceneConfig
from cryoembed.views.stream import SimulatedCrops, endless, simulated_scene

SAMPLE = DatasetConfig(
    shape=(24, 24, 24), fresh_phantoms=2, mass_range_kda=(100, 300), counts=2, models=2, validation=1, vesicles=(0, 1)
)
CROPS = SceneConfig(scenes=2, refresh_every=3, crop_vox=16, margin_vox=2, seed=5)
MEMBRANE = SEMANTIC_CLASSES.index("membrane")
NAMES = {"input", "clean", *TARGETS}


def items(count, *, workers=0, crops=CROPS, **options):
    loader = DataLoader(SimulatedCrops(SAMPLE, crops, **options), batch_size=None, num_workers=workers)
    return list(islice(loader, count))


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_items_come_in_the_order_of_one_worker_whatever_the_number_of_workers():
    alone, shared = items(8), items(8, workers=2)
    assert all(map(same, alone, shared))
    assert not any(same(alone[0], other) for other in alone[1:])


def test_an_item_is_crops_and_their_truth():
    (one,), (four,) = items(1), items(1, batch=4)
    assert set(one) == NAMES
    assert all(values.shape == (16, 16, 16) and values.dtype == torch.float32 for values in one.values())
    assert all(values.shape == (4, 16, 16, 16) for values in four.values())
    inside = four["foreground"] > 0
    assert torch.equal(inside, four["distance"] > 0)
    assert not (four["boundary"] > 0)[~inside].any()
    assert 0.3 < four["input"].std() < 3


def test_truth_lies_where_the_particles_are():
    clear = CROPS.model_copy(update={"imaging": CROPS.imaging.model_copy(update={"clean_probability": 1.0})})
    (item,) = items(1, batch=16, crops=clear)
    assert torch.corrcoef(torch.stack([item["input"].flatten(), item["clean"].flatten()]))[0, 1] > 0.7


def test_a_stream_goes_on_where_it_stopped_and_another_seed_is_another_stream():
    assert same(items(5)[4], items(1, start=4)[0])
    assert not same(items(1)[0], items(1, crops=CROPS.model_copy(update={"seed": 6}))[0])


def test_batches_of_a_loader_are_of_any_size():
    loader = DataLoader(SimulatedCrops(SAMPLE, CROPS), batch_size=3)
    assert next(iter(loader))["input"].shape == (3, 16, 16, 16)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="voxel_size"):
        SimulatedCrops(SAMPLE.model_copy(update={"voxel_size": 20.0}), CROPS)
    with pytest.raises(ValueError, match="smaller than crop_vox"):
        SimulatedCrops(SAMPLE, CROPS.model_copy(update={"crop_vox": 32}))
    held_back = SAMPLE.model_validate(SAMPLE.model_dump() | {"structures": [{"pdb": "4v94"}]})
    with pytest.raises(InputError, match="trainings may see train only"):
        SimulatedCrops(held_back, CROPS)


def test_the_packed_share_of_scenes_is_of_phantoms_alone_and_evenly_spread():
    alone = {"shape_zyx": (32, 32, 32), "species": 1, "vesicles": 0, "fiducials": 0, "mass_range_kda": (100, 150)}
    crops = CROPS.model_copy(update={"packed_share": 0.34, "crowding": (0.1, 0.2), **alone})
    membranes = endless(SAMPLE.model_copy(update={"shape": (32, 32, 32), "vesicles": (1, 1)}))
    scenes = [simulated_scene(crops, membranes, index) for index in range(6)]
    packed = [MEMBRANE not in scene.classes for scene in scenes]
    assert packed == [False, False, True, False, False, True]
    without = simulated_scene(CROPS, membranes, 1)
    assert np.array_equal(scenes[1].density, without.density)  # the others are what they were
