from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoembed.errors import InputError
from cryoembed.preprocess.intensity import clip_limits, decide_contrast, find_padding, strided_sample
from cryoembed.tomogram import Tomogram


def read(path: Path, voxel_size: float) -> Tomogram:
    if path.suffix == ".tif":
        from skimage.io import imread

        return Tomogram(imread(path), voxel_size, path.stem)
    with mrcfile.mmap(path, permissive=True) as file:
        return Tomogram(file.data, voxel_size, path.stem)


REAL = [
    ("emp10499/00254_20A_full.mrc", 20.0, "dark"),
    ("emp10499/00254_10A_crop.mrc", 10.0, "dark"),
    ("emd_1155_hiv.ccp4", 16.4, "dark"),
    ("13pf_MT.tif", 10.5, "bright"),
    ("14pf_MT.tif", 10.5, "bright"),
]


@pytest.mark.parametrize(("file", "voxel_size", "contrast"), REAL)
def test_contrast_of_real_tomograms_is_seen(shared_data: Path, file: str, voxel_size: float, contrast: str) -> None:
    decision = decide_contrast(read(shared_data / "tomograms" / file, voxel_size), "auto")
    assert decision.contrast == contrast
    assert decision.confident
    assert "skewness" in decision.reason


@pytest.mark.parametrize(("file", "voxel_size", "contrast"), REAL[2:])
def test_contrast_of_inverted_real_tomograms_is_inverted(
    shared_data: Path, file: str, voxel_size: float, contrast: str
) -> None:
    tomogram = read(shared_data / "tomograms" / file, voxel_size)
    inverted = Tomogram(-np.asarray(tomogram.data, dtype=np.float32), voxel_size, "inverted")
    assert decide_contrast(inverted, "auto").contrast != contrast


def scene(generator: np.random.Generator, noise: float, shape: tuple[int, int, int] = (48, 96, 96)) -> np.ndarray:
    """Bright particles of 80 to 250 A at 10 A per voxel, in white noise."""
    density = np.zeros(shape, dtype=np.float32)
    for _ in range(40):
        centre, radius = generator.uniform(0, shape), generator.uniform(4, 12)
        grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
        density[(grid**2).sum(axis=0) < radius**2] = 1
    return gaussian_filter(density, 1) + generator.normal(scale=noise, size=shape).astype(np.float32)


@pytest.mark.parametrize("noise", [0.2, 1.0, 2.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_contrast_of_simulated_particles_is_seen_in_noise(noise: float, sign: int) -> None:
    volume = sign * scene(np.random.default_rng(1), noise)
    decision = decide_contrast(Tomogram(volume, 10.0, "simulated"))
    assert decision.sign == sign
    assert decision.confident


def test_gold_beads_do_not_outweigh_particles() -> None:
    generator = np.random.default_rng(2)
    volume = scene(generator, 0.5)
    for z, y, x in generator.integers(6, (42, 90, 90), size=(3, 3)):
        volume[z - 4 : z + 5, y - 4 : y + 5, x - 4 : x + 5] = -30.0  # dark gold among bright particles
    assert decide_contrast(Tomogram(volume, 10.0, "gold")).contrast == "bright"


def test_pure_noise_is_not_believed_and_taken_for_dark() -> None:
    volume = np.random.default_rng(3).normal(size=(48, 64, 64)).astype(np.float32)
    decision = decide_contrast(Tomogram(volume, 10.0, "noise"))
    assert (decision.sign, decision.confident) == (-1, False)
    assert "does not say clearly" in decision.reason


def test_fine_and_coarse_voxels_are_handled() -> None:
    volume = scene(np.random.default_rng(4), 0.5)
    fine = volume.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert decide_contrast(Tomogram(fine, 10.0 / 3, "fine")).contrast == "bright"
    assert decide_contrast(Tomogram(volume, 40.0, "coarse")).contrast == "bright"


def test_what_the_user_says_is_obeyed_and_contradicted_in_words() -> None:
    tomogram = Tomogram(scene(np.random.default_rng(5), 0.5), 10.0, "bright")
    decision = decide_contrast(tomogram, "dark")
    assert (decision.sign, decision.confident) == (-1, False)
    assert "look bright" in decision.reason
    assert decide_contrast(tomogram, "bright").reason == "bright as given"


def test_unknown_contrast_and_nan_are_refused() -> None:
    volume = scene(np.random.default_rng(6), 0.5)
    with pytest.raises(InputError, match="auto, dark or bright"):
        decide_contrast(Tomogram(volume, 10.0, "t"), "grey")  # type: ignore[arg-type]
    volume[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        decide_contrast(Tomogram(volume, 10.0, "t"))


def test_strided_clip_limits_are_near_those_of_all_voxels() -> None:
    volume = np.random.default_rng(7).normal(size=(96, 128, 128)).astype(np.float32)
    whole = np.percentile(volume, (0.1, 99.9))
    assert np.abs(np.subtract(clip_limits(strided_sample(volume, 2)), whole)).max() < 0.05
    assert strided_sample(volume[:16, :16, :16], 4).shape == (16, 16, 16)  # small volumes are taken whole


def test_padding_is_found_and_empty_space_in_a_noise_free_volume_is_not_padding() -> None:
    generator = np.random.default_rng(8)
    padded = np.full((40, 40, 40), 3.0, dtype=np.float32)
    padded[10:30] = generator.normal(size=(20, 40, 40))
    assert find_padding(padded) == 3.0
    assert find_padding(generator.normal(size=(10, 10, 10)).astype(np.float32)) is None
    clean = np.zeros((40, 40, 40), dtype=np.float32)
    clean[10:14, 10:14, 10:14] = clean[25:30, 25:30, 25:30] = 1
    assert find_padding(clean) is None
