"""The benchmark's own parts on toy sizes: what it lays is what it undoes, and its critic knows like from unlike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.evaluate.realism import SeriesStatistics
from cryoembed.simulate.imaging.alignment import align
from cryoembed.simulate.imaging.geometry import TiltGeometry
from tests.benchmark.critic import Effort, corners, separability
from tests.benchmark.realism import beside, folds, tables
from tests.benchmark.recorded import laid_as, recorded_cell

TOY = Effort(steps=60, batch=6, test_crops=30, edge=16)


def noise(seed: int, blur: float) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(24, 96, 40)), blur).astype(np.float32)


def test_images_laid_as_recorded_come_back_by_the_alignment():
    images = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 90, 101)), (0, 2, 2)).astype(np.float32)
    geometry = TiltGeometry(np.array([0.0, 3.0]), np.array([[3.3, -5.2], [0.5, 2.0]]), 4.3)
    inside = (slice(None), slice(15, -15), slice(15, -15))
    assert np.abs(align(laid_as(images, geometry), geometry) - images)[inside].max() < 0.05 * images.std()


def test_cubes_start_where_all_of_them_lies_in_the_mask():
    mask = recorded_cell((70, 120, 652))
    for z, y, x in corners(mask, 64, (10, 100))[::997]:
        assert 10 <= y <= 100 - 64
        assert mask[z : z + 64, y : y + 64, x : x + 64].all()


@pytest.mark.slow
def test_critic_tells_blurred_noise_from_noise_but_not_noise_from_noise(tmp_path):
    everywhere = np.ones((24, 96, 40), dtype=bool)
    one, alike, other = ((noise(seed, blur), everywhere) for seed, blur in ((0, 0.5), (1, 0.5), (2, 2.0)))
    assert separability(one, other, tmp_path / "unlike", TOY) > 0.9
    assert 0.2 < separability(one, alike, tmp_path / "alike", TOY) < 0.8


def test_table_and_factors_are_of_the_tilts_they_name(tmp_path):
    tilts = np.arange(-60, 61, 3.0)
    real = SeriesStatistics(np.full(41, 40.0), np.full(41, 5.0), np.ones((41, 10)))
    ours = SeriesStatistics(np.full(41, 40.0), np.full(41, 4.0), np.ones((41, 10)))
    assert folds(ours, real)["s.d., every 5th tilt"] == pytest.approx(1.25)
    assert folds(ours, real)["share of all powers within 1.5"] == 1
    assert tables(tilts, real, ours).count("\n") == 13
    beside(noise(0, 1), noise(1, 1), tmp_path / "beside.png")
    assert (tmp_path / "beside.png").stat().st_size > 0
