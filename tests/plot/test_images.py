import base64
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cryoembed.plot.image import data_uri, shrink, tile_images, to_grey


def test_grey_values_run_from_black_to_white_in_order():
    grey = to_grey(np.arange(100.0).reshape(10, 10), percentiles=(0, 100))
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert np.all(np.diff(grey.astype(int).ravel()) >= 0)


def test_constant_and_missing_values_are_mid_grey():
    assert np.all(to_grey(np.ones((3, 3))) == 128)
    assert np.all(to_grey(np.full((3, 3), np.nan)) == 128)
    image = np.arange(9.0).reshape(3, 3)
    image[1, 1] = np.nan
    assert to_grey(image)[1, 1] == 128


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_shrinking_keeps_the_size_below_the_limit_and_values_in_range(height, width, most):
    image = np.random.default_rng(height * width).random((height, width))
    small = shrink(image, most)
    assert max(small.shape) <= most or max(height, width) <= most
    assert small.min() >= image.min() - 1e-6
    assert small.max() <= image.max() + 1e-6


def test_shrinking_averages_whole_blocks_and_the_remainder():
    image = np.array([[1.0, 3, 5], [1, 3, 7], [4, 4, 9]])
    assert shrink(image, 2).tolist() == [[2, 6], [4, 9]]


def test_the_data_uri_holds_the_same_pixels():
    grey = np.random.default_rng(0).integers(0, 255, (7, 5), dtype=np.uint8)
    payload = data_uri(grey).removeprefix("data:image/png;base64,")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(payload)))), grey)


def test_tiles_stand_in_reading_order():
    sheet = tile_images([np.full((2, 3), value, np.uint8) for value in (10, 20, 30)], columns=2, gap=1)
    assert sheet.shape == (5, 7)
    assert (sheet[0, 0], sheet[0, 4], sheet[3, 0], sheet[3, 4], sheet[2, 0]) == (10, 20, 30, 255, 255)
