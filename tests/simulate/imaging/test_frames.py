"""Where things are: binned tomograms keep the sample's frame, and a recorded misalignment puts the images right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoembed.io.mrc import read_mrc
from cryoembed.simulate.folders import simulate_dataset
from cryoembed.simulate.imaging.geometry import TiltGeometry
from cryoembed.simulate.imaging.series import ImagingConfig, image
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from tests.simulate.test_dataset import config

PERFECT = {
    "ctf": False,
    "damage": False,
    "mean_free_path": 0.0,
    "detector": "none",
    "poisson": False,
    "bfactor": 0.0,
    "contrast": "bright",
}


def ball(shape, at, radius):
    distance = sum((axis - place) ** 2 for axis, place in zip(np.ogrid[tuple(map(slice, shape))], at, strict=True))
    return np.exp(-distance / (2 * radius**2)).astype(np.float32)


def centre_of_mass(volume):
    """Of what is brighter than half, in voxels."""
    weights = np.maximum(volume - volume.max() / 2, 0).astype(np.float64)
    return [float((axis * weights).sum() / weights.sum()) for axis in np.ogrid[tuple(map(slice, volume.shape))]]


@pytest.mark.parametrize(("depth", "binning"), [(40, 2), (42, 2), (33, 3), (36, 3), (44, 4), (40, 4)])
def test_a_binned_tomogram_shows_things_where_they_are(depth, binning):
    truth = (depth // 2 + 4, 52, 44)
    config = ImagingConfig(tilt_max_deg=90, tilt_step_deg=3, binning=binning, **PERFECT)
    imaged = image(ball((depth, 96, 96), truth, 2.0 * binning), 10.0, config, np.random.default_rng(0))
    assert np.allclose(np.array(centre_of_mass(imaged.clean)) * binning, truth, atol=0.05 * binning)


def test_the_recorded_misalignment_puts_the_series_right(tmp_path):
    imaging = {**PERFECT, "write_tilt_series": True, "tilt_step_deg": 6.0, "contrast": "dark"}
    moved = imaging | {"shift_sd": 15.0, "rotation_sd_deg": 1.5, "magnification_sd": 0.01}
    volumes = {}
    for name, settings in (("ideal", imaging), ("moved", moved)):
        simulate_dataset(config(models=1, imaging=settings), tmp_path / name)
        folder = tmp_path / name / "model_0"
        images, _ = read_mrc(folder / "tilt_series.mrc")
        images = np.asarray(images, dtype=np.float32)
        images = images - images.mean(axis=(1, 2), keepdims=True)
        told = pd.read_parquet(folder / "tilt_series.parquet")
        geometry = TiltGeometry(
            told["nominal_deg"].to_numpy(),
            told[["shift_y_px", "shift_x_px"]].to_numpy(),
            told["rotation_deg"].to_numpy(),
            told["magnification"].to_numpy(),
        )
        for how, one in (("as told", geometry), ("as reported", TiltGeometry(geometry.tilts_deg))):
            volumes[name, how] = reconstruct(images, one, (32, 48, 56), 10.0)[4:-4, 8:-8, 8:-8]
    ideal = volumes["ideal", "as reported"].ravel()
    assert np.corrcoef(ideal, volumes["moved", "as reported"].ravel())[0, 1] < 0.9
    assert np.corrcoef(ideal, volumes["moved", "as told"].ravel())[0, 1] > 0.98
