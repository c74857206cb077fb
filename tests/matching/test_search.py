"""Template matching against written-out correlations, and against what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed import rotations
from cryoembed.errors import InputError
from cryoembed.matching.search import MatchMap, blocks, match_template
from cryoembed.matching.template import probe, wedge
from tests.matching.scenes import RADIUS, TILT, planted, template

TURNS = rotations.grid(60)
TURN, CENTRE, SHAPE = 17, (22, 30, 19), (44, 48, 40)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return planted(SHAPE, CENTRE, TURNS[TURN])


def search(volume: np.ndarray, every: int = 1, **settings: object) -> MatchMap:
    given: dict = {"mask_radius_vox": RADIUS, "tilt_max_deg": TILT} | settings
    return match_template(volume, template(), TURNS[::every], **given)


def best(match: MatchMap) -> tuple[tuple[int, ...], float, int]:
    at = np.unravel_index(int(match.score.argmax()), match.score.shape)
    return tuple(int(index) for index in at), float(match.score[at]), int(match.best_rotation[at])


def test_the_planted_template_scores_one_where_and_as_it_was_turned(scene: np.ndarray) -> None:
    at, score, turn = best(search(scene))
    assert (at, turn) == (CENTRE, TURN)
    assert score == pytest.approx(1, abs=1e-3)


def test_without_the_wedge_in_the_template_the_score_is_lower(scene: np.ndarray) -> None:
    assert best(search(scene, tilt_max_deg=None))[1] < 0.97


def test_the_template_is_found_at_snr_one_half(scene: np.ndarray) -> None:
    near = np.linalg.norm(np.indices(SHAPE).T - np.array(CENTRE), axis=-1).T < RADIUS
    noise = np.random.default_rng(0).normal(0, np.sqrt(scene[near].var() / 0.5), SHAPE).astype(np.float32)
    at, _, turn = best(search(scene + noise))
    assert np.linalg.norm(np.subtract(at, CENTRE)) <= 1
    assert turn == TURN


def test_brightness_and_contrast_do_not_matter(scene: np.ndarray) -> None:
    noisy = scene + np.random.default_rng(1).normal(0, 0.1, SHAPE).astype(np.float32)
    first, second = search(noisy, every=8), search(40 * noisy - 300, every=8)
    np.testing.assert_allclose(first.score, second.score, atol=2e-4)


def test_scores_are_pearsons_r_under_the_mask_even_where_it_leaves_the_volume() -> None:
    volume = np.random.default_rng(2).normal(0, 1, (25, 32, 28)).astype(np.float32)
    volume[0, 0, 0] = volume[-1, -1, -1] = 30  # would be seen across a border that wraps around
    found = match_template(volume, template(), TURNS[5:6], mask_radius_vox=RADIUS, tilt_max_deg=TILT).score
    prepared = probe(template(), mask_radius_vox=RADIUS, tilt_max_deg=TILT)
    kernel, reach = prepared.kernel(TURNS[5]), prepared.reach
    padded = np.pad(volume, reach, constant_values=volume.mean())
    for at in [(0, 0, 0), (24, 31, 27), (0, 31, 0), (12, 16, 14), (24, 0, 13), (3, 30, 27)]:
        window = padded[tuple(slice(index, index + 2 * reach + 1) for index in at)]
        expected = np.corrcoef(window[prepared.mask], kernel[prepared.mask])[0, 1]
        assert found[at] == pytest.approx(expected, abs=1e-4)


def test_blocks_give_what_one_piece_gives(scene: np.ndarray) -> None:
    noisy = scene + np.random.default_rng(3).normal(0, 0.1, SHAPE).astype(np.float32)
    whole, cut = search(noisy, every=8), search(noisy, every=8, block_vox=60_000)
    assert len(blocks(SHAPE, int(RADIUS), 60_000)) > 2
    np.testing.assert_allclose(cut.score, whole.score, atol=1e-5)
    assert np.mean(cut.best_rotation == whole.best_rotation) > 0.999  # ties may fall either way


def test_blocks_tile_the_volume_and_stay_small() -> None:
    shape, reach = (200, 512, 512), 20
    seen = np.zeros(shape, dtype=np.uint8)
    for core in blocks(shape, reach, 1 << 24):
        seen[core] += 1
        assert np.prod([part.stop - part.start + 2 * reach for part in core]) <= 1.2 * (1 << 24)
    assert (seen == 1).all()


def test_a_transfer_function_of_minus_one_turns_the_score_over(scene: np.ndarray) -> None:
    match = match_template(
        scene,
        template(),
        TURNS[TURN],
        mask_radius_vox=RADIUS,
        tilt_max_deg=TILT,
        ctf=lambda frequency: -np.ones_like(frequency),
    )
    assert match.score[CENTRE] == pytest.approx(-1, abs=1e-3)


def test_the_wedge_leaves_out_what_tilts_about_y_cannot_see() -> None:
    passes = wedge((64, 5, 64), 60.0)
    assert (passes == passes[:, :1]).all()  # y is the tilt axis
    assert passes[20, 0, 1] == 0  # along z: missing
    assert passes[1, 0, 20] == 1  # along x: seen
    assert passes[0, 0, 0] == 1
    assert passes[:, 0].mean() == pytest.approx(1 - np.tan(np.deg2rad(30)) / 2, abs=0.01)


@pytest.mark.parametrize(
    ("volume", "settings", "said"),
    [
        (np.ones((20, 20, 20)), {}, "constant"),
        (np.full((20, 20, 20), np.nan), {}, "not finite"),
        (np.zeros((20, 20)), {}, "volume"),
        (np.zeros((20, 20, 20)), {"mask_radius_vox": 0}, "mask radius"),
        (np.zeros((20, 20, 20)), {"tilt_max_deg": 91}, "tilt"),
    ],
)
def test_what_cannot_be_searched_is_named(volume: np.ndarray, settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        search(volume, **settings)


def test_a_template_that_is_no_cube_or_flat_is_refused(scene: np.ndarray) -> None:
    with pytest.raises(InputError, match="cubic"):
        match_template(scene, np.zeros((4, 4, 5)), TURNS, mask_radius_vox=2)
    with pytest.raises(InputError, match="constant under its mask"):
        match_template(scene, np.zeros((8, 8, 8)), TURNS, mask_radius_vox=3)
