"""A rolling window: what a batch sees depends on its number alone, whoever makes it and whenever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from cryoembed.errors import InputError
from cryoembed.views.pool import NUISANCES, RollingPool, SubtomogramConfig, numbered_phantom
from cryoembed.views.rolling import Fixed, Rolling
from cryoembed.views.scenes import SceneConfig, build_scenes, numbered_scene
from cryoembed.views.subtomograms import draw_classes
from tests.recipes.test_simulate import until_dead

SCENES = SceneConfig(
    scenes=2,
    shape_zyx=(32, 32, 32),
    species=2,
    mass_range_kda=(100, 300),
    crop_vox=16,
    margin_vox=2,
    vesicles=1,
    fiducials=1,
    refresh_every=3,
)
BOXES = SubtomogramConfig(phantoms=4, mass_range_kda=(80, 150), box_vox=16, refresh_every=2)


@dataclass(frozen=True)
class Thing:
    number: int
    values: Tensor


def make(number: int) -> Thing:
    return Thing(number, torch.full((2,), float(number)))


def make_slowly(number: int) -> Thing:
    time.sleep(0.05 * (number % 3))
    return make(number)


def refuse_four(number: int) -> Thing:
    if number == 4:
        raise InputError("thing 4 cannot be")
    return make(number)


def die(number: int) -> Thing:
    os.kill(os.getpid(), signal.SIGKILL)
    return make(number)


def numbers(rolling: Rolling[Thing], batch: int) -> list[int]:
    return [thing.number for thing in rolling.at(batch)]


def test_the_oldest_gives_way_after_every_few_batches_and_the_others_keep_their_place():
    with Rolling(make, 3, 2, processes=0) as rolling:
        seen = [numbers(rolling, batch) for batch in range(7)]
    assert seen == [[0, 1, 2], [0, 1, 2], [3, 1, 2], [3, 1, 2], [3, 4, 2], [3, 4, 2], [3, 4, 5]]


def test_a_resumed_window_and_one_asked_out_of_order_see_the_same():
    with Rolling(make, 3, 2, processes=0) as rolling:
        assert [numbers(rolling, batch) for batch in (100, 6, 0, 100)] == [
            [51, 52, 50],
            [3, 4, 5],
            [0, 1, 2],
            [51, 52, 50],
        ]


def test_neither_processes_nor_threads_nor_timing_change_what_is_seen():
    with Rolling(make_slowly, 3, 1, processes=2) as made_ahead, ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(lambda batch: numbers(made_ahead, batch), range(8)))
    with Rolling(make, 3, 1, processes=0) as rolling:
        assert seen == [numbers(rolling, batch) for batch in range(8)]


def test_old_things_are_let_go():
    with Rolling(make, 2, 1, processes=0) as rolling:
        for batch in range(100):
            rolling.at(batch)
        assert len(rolling._things) < 10


@pytest.mark.parametrize("processes", [0, 1])
def test_what_a_maker_complains_about_reaches_the_training(processes):
    with Rolling(refuse_four, 2, 1, processes=processes) as rolling:
        assert numbers(rolling, 0) == [0, 1]
        with pytest.raises(InputError, match="thing 4 cannot be"):
            rolling.at(3)


def test_a_killed_process_is_an_error_that_says_what_to_lower():
    with Rolling(die, 2, 1, processes=1) as rolling:
        for batch in (0, 0, 7):  # the pool stays broken
            with pytest.raises(InputError, match="lower data.scenes or train.composers"):
                rolling.at(batch)


class Unreadable:
    """A maker that cannot be unpickled."""

    def __call__(self, number: int) -> Thing:
        return make(number)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return int, ("no number",)


def test_processes_that_cannot_start_are_not_called_short_of_memory(capfd):
    with Rolling(Unreadable(), 2, 1, processes=1) as rolling:
        for _ in range(2):
            with pytest.raises(InputError, match="could not start; what stopped them is printed above"):
                rolling.at(0)
    assert "no number" in capfd.readouterr().err


def test_windows_need_a_size_and_a_step():
    with pytest.raises(ValueError, match="at least 1"):
        Rolling(make, 0, 1)
    with pytest.raises(ValueError, match="at least 1"):
        Rolling(make, 1, 0)


def test_what_is_fixed_stays():
    with Fixed([1, 2]) as fixed:
        assert fixed.at(0) == fixed.at(99) == [1, 2]


def test_scenes_made_in_a_process_equal_those_made_here_and_start_with_the_fixed_ones():
    make_scene = partial(numbered_scene, SCENES, ())
    with Rolling(make_scene, 2, 3, processes=1) as there, Rolling(make_scene, 2, 3, processes=0) as here:
        for batch in (0, 3, 7):
            for one, other in zip(there.at(batch), here.at(batch), strict=True):
                for field in fields(one):
                    assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name
        for one, other in zip(here.at(0), build_scenes(SCENES), strict=True):
            assert np.array_equal(one.density, other.density)


def test_phantoms_roll_while_the_scale_stays():
    with RollingPool(BOXES, processes=1) as pool:
        early, late = pool.at(1), pool.at(2)
    same = [torch.equal(a.density, b.density) for a, b in zip(early.templates, late.templates, strict=True)]
    assert same == [False, True, True, True]
    assert torch.equal(late.templates[0].density, numbered_phantom(BOXES, 4).density)
    assert (early.particle_variance, early.classes) == (late.particle_variance, 4 + len(NUISANCES))
    batch = draw_classes(late, BOXES, np.random.default_rng(0), classes=3, views=2)
    assert batch["input"].shape == (6, 1, 16, 16, 16)


def test_processes_do_not_outlive_a_killed_training():
    code = (
        "import os, signal\nfrom tests.views.test_rolling import Rolling, make\n"
        "rolling = Rolling(make, 1, 1, processes=1)\nrolling.at(0)\n"
        "print(*rolling._pool._processes, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    until_dead(int(run.stdout))
