"""Embedding volumes whose principal components are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryoembed.errors import InputError
from cryoembed.plot.image import write_png
from cryoembed.plot.voxel_embedding import embedding_picture, embedding_rgb


def ramps() -> np.ndarray:
    """(5, z, y, x): channel 1 grows along x, 3 along y, 4 along z, ever more weakly; the others are constant."""
    z, y, x = np.indices((20, 24, 28), dtype=np.float32)
    return np.stack([np.ones_like(z), 9 * x, 0 * z, 3 * y, z])


def test_components_become_red_green_and_blue_in_order_of_their_variance() -> None:
    image = embedding_rgb(ramps(), 10).astype(int)
    assert image.shape == (24, 28, 3)
    assert (np.diff(image[..., 0], axis=1)[:, 1:-1] > 0).all()
    assert (np.ptp(image[..., 0], axis=0) <= 1).all()
    assert (np.diff(image[..., 1], axis=0)[1:-1] > 0).all()
    assert np.ptp(image[..., 2]) <= 1


def test_slices_of_one_volume_share_their_axes_and_scale() -> None:
    low, high = (embedding_rgb(ramps(), z).astype(int) for z in (4, 15))
    np.testing.assert_array_equal(low[..., :2], high[..., :2])
    assert (high[..., 2] > low[..., 2]).all()


def test_a_memory_map_in_half_precision_gives_the_same_picture(tmp_path: Path) -> None:
    stored = np.lib.format.open_memmap(tmp_path / "e.npy", "w+", np.float16, (5, 20, 24, 28))
    stored[:] = ramps()
    assert np.abs(embedding_rgb(stored, 3).astype(int) - embedding_rgb(ramps(), 3)).max() <= 1


def test_a_few_wild_voxels_do_not_darken_the_picture() -> None:
    wild = ramps()
    wild[1, 0, :2, :2] = 1e3
    assert embedding_rgb(wild, 10)[..., 0].max() > 200


def test_the_picture_shows_the_slice_beside_its_colours_with_y_upwards(tmp_path: Path) -> None:
    volume = np.zeros((20, 24, 28))
    volume[10, 23] = 1
    path = tmp_path / "a.png"
    write_png(path, embedding_picture(volume, ramps(), 10))
    image = np.asarray(Image.open(path))
    assert image.shape == (24, 60, 3)
    assert (image[0, :28] == 255).all()  # the last row of y is on top
    assert (image[1:, :28] == 0).all()
    np.testing.assert_array_equal(image[::-1, 32:], embedding_rgb(ramps(), 10))


@pytest.mark.parametrize(("shape", "z", "said"), [((2, 4, 4, 4), 0, "3 or more"), ((3, 4, 4, 4), 4, "outside")])
def test_what_cannot_be_coloured_is_named(shape: tuple[int, ...], z: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        embedding_rgb(np.zeros(shape), z)
