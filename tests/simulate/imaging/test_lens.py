"""Image formation: gratings have the contrast of the formula, columns their own defocus, depth shows in multislice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.simulate.electrons import interaction_constant
from cryoembed.simulate.imaging.acquisition import ImagingConfig
from cryoembed.simulate.imaging.lens import Lens
from cryoembed.simulate.imaging.multislice import multislice_image
from cryoembed.simulate.imaging.optics import aberration, coherence, ctf
from cryoembed.simulate.imaging.projection import project, project_slabs
from cryoembed.simulate.imaging.weak_phase import phase_shift_of, weak_phase_image

PIXEL = 10.0
CONFIG = ImagingConfig()


def lens(defocus_um=3.0, slope=0.0, config=CONFIG):
    return Lens(defocus_um, slope, 0.0, 0.0, 0.0, config)


def away_from_borders(image, margin=24):
    return image[..., margin:-margin, margin:-margin]


def relative_error(one, other):
    one, other = one - one.mean(), other - other.mean()
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.mark.parametrize("period_px", [16, 8, 4])
@pytest.mark.parametrize("amplitude_contrast", [0.0, 0.1])
def test_a_weak_grating_has_the_contrast_of_the_formula(period_px, amplitude_contrast):
    config = ImagingConfig(amplitude_contrast=amplitude_contrast)
    x = np.arange(192)
    grating = np.tile(np.float32(1e-3) * np.cos(2 * np.pi * x / period_px), (96, 1)).astype(np.float32)
    seen = away_from_borders(weak_phase_image(grating, PIXEL, lens(config=config)))
    k = 1 / (period_px * PIXEL)
    transfer = ctf(aberration(0.0, k, 3.0, voltage_kv=300, cs_mm=2.7), amplitude_contrast)
    expected = 2 * transfer * coherence(k, 3.0, config) * away_from_borders(grating)
    assert np.abs(seen - expected).max() < 0.01 * 2e-3 * max(abs(transfer), 0.1)


def test_protein_is_dark_when_underfocused_and_gold_absorbs_no_more_than_all():
    blob = ndimage.gaussian_filter(np.pad(np.ones((4, 4), np.float32), 40), 2)
    assert weak_phase_image(0.1 * blob / blob.max(), PIXEL, lens())[41:43, 41:43].min() > 0
    in_focus = lens(0.0, config=ImagingConfig(cs_mm=0, illumination_mrad=0, energy_spread_ev=0))
    assert weak_phase_image(20 * blob / blob.max(), PIXEL, in_focus).max() <= 1.0


def test_nothing_comes_in_over_the_opposite_border():
    phase = np.zeros((64, 64), np.float32)
    phase[:, :3] = 0.3
    assert np.abs(weak_phase_image(phase, PIXEL, lens(5.0))[:, -4:]).max() < 2e-3


@pytest.mark.parametrize("column", [20, 236])
def test_a_column_of_a_tilted_image_has_its_own_defocus(column):
    phase = np.zeros((64, 256), np.float32)
    phase[32, column] = 1e-3
    phase = ndimage.gaussian_filter(phase, 0.8)
    steep = np.tan(np.radians(60))
    depth_um = (column - 128) * PIXEL * 1e-4 * steep  # exit side, and more underfocus, at positive u for t > 0
    seen = weak_phase_image(phase, PIXEL, lens(3.0, steep))
    right, wrong = (weak_phase_image(phase, PIXEL, lens(3.0 + sign * depth_um)) for sign in (1, -1))
    assert relative_error(seen, right) < 0.01
    assert relative_error(seen, wrong) > 0.1


@pytest.fixture(scope="module")
def dots():
    """Weak blobs all over a box (24, 64, 96)."""
    volume = (np.random.default_rng(0).random((24, 64, 96)) < 0.002).astype(np.float32)
    volume = ndimage.gaussian_filter(volume, 2)
    return 0.2 * volume / volume.max()


def phase_of(line_integrals, pixel=PIXEL):
    return phase_shift_of(line_integrals * np.float32(3.4 * pixel), 300)


@pytest.mark.parametrize("tilt", [0.0, 45.0, -45.0])
def test_multislice_and_weak_phase_agree_on_a_weak_object(dots, tilt):
    slope = float(np.tan(np.radians(tilt)))
    weak = weak_phase_image(phase_of(project(dots, [tilt])[0]), PIXEL, lens(slope=slope))
    slabs = multislice_image(phase_of(project_slabs(dots, tilt, 5.0)), 50.0, PIXEL, lens())
    assert relative_error(weak, slabs) < 0.02


def test_a_phase_plate_turns_what_is_scattered_and_leaves_the_mean(dots):
    plate = Lens(1.0, 0.0, 0.0, 0.0, 90.0, CONFIG)
    phase = phase_of(project(dots, [0.0])[0])
    weak = weak_phase_image(phase, PIXEL, plate)
    slabs = multislice_image(phase_of(project_slabs(dots, 0.0, 5.0)), 50.0, PIXEL, plate)
    assert relative_error(weak, slabs) < 0.02
    assert np.corrcoef(weak.ravel(), phase.ravel())[0, 1] > 0.8
    assert abs(weak.mean()) < 0.5 * phase.mean()


@pytest.mark.parametrize("tilt", [60.0, -60.0])
def test_the_defocus_gradient_has_the_sign_that_multislice_finds(tilt):
    volume = np.zeros((8, 48, 256), np.float32)
    volume[4, 24, [20, 236]] = 0.05
    volume = ndimage.gaussian_filter(volume, 0.7)
    slope = float(np.tan(np.radians(tilt)))
    slabs = multislice_image(phase_of(project_slabs(volume, tilt, 10.0), 5.0), 50.0, 5.0, lens())
    right, none, wrong = (
        relative_error(weak_phase_image(phase_of(project(volume, [tilt])[0], 5.0), 5.0, lens(slope=s)), slabs)
        for s in (slope, 0.0, -slope)
    )
    assert right < 0.06
    assert right < 0.6 * none
    assert none < 0.6 * wrong


@pytest.mark.parametrize("slab", [0, 11, 23])
def test_what_lies_nearer_to_the_exit_is_more_underfocused(slab):
    phase = ndimage.gaussian_filter(np.pad(np.full((1, 1), 0.01, np.float32), 32), 0.8)
    phases = np.zeros((24, *phase.shape), np.float32)
    phases[slab] = phase
    deeper_um = (slab - 11.5) * 200.0 * 1e-4
    seen = multislice_image(phases, 200.0, PIXEL, lens(2.0))
    assert relative_error(seen, weak_phase_image(phase, PIXEL, lens(2.0 + deeper_um))) < 0.02


def test_without_absorption_no_electron_is_lost():
    config = ImagingConfig(amplitude_contrast=0, illumination_mrad=0, energy_spread_ev=0)
    phases = np.zeros((6, 64, 64), np.float32)
    phases[:, 20:40, 24:36] = 0.4
    seen = multislice_image(ndimage.gaussian_filter(phases, (0, 2, 2)), 100.0, PIXEL, lens(config=config))
    assert abs(seen.mean()) < 1e-3
    assert np.abs(seen).max() > 0.15


def test_an_empty_sample_gives_no_contrast():
    assert np.abs(multislice_image(np.zeros((3, 32, 32), np.float32), 50.0, PIXEL, lens())).max() < 1e-5
    assert not weak_phase_image(np.zeros((32, 32), np.float32), PIXEL, lens()).any()


def test_a_projected_potential_turns_the_phase_by_the_interaction_constant():
    assert phase_shift_of(np.array([[1000.0]]), 300)[0, 0] == pytest.approx(1000 * interaction_constant(300))
