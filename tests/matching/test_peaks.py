"""Score maps to picks."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed import rotations
from cryoembed.errors import InputError
from cryoembed.matching.peaks import peaks
from cryoembed.matching.search import MatchMap, match_template
from tests.matching.scenes import RADIUS, TILT, planted, template

TURNS = rotations.grid(90)


def hills(*tops: tuple[tuple[float, float, float], float, int]) -> MatchMap:
    """Parabolic hills at (fractional) voxels, each with a height and a rotation."""
    score, turn = np.zeros((12, 14, 16), dtype=np.float32), np.zeros((12, 14, 16), dtype=np.int32)
    for centre, height, number in tops:
        squared = sum((axis - at) ** 2 for axis, at in zip(np.indices(score.shape), centre, strict=True))
        hill = height - 0.1 * squared
        turn[hill > score] = number
        score = np.maximum(score, hill).astype(np.float32)
    return MatchMap(score, turn)


def test_tops_between_voxels_are_found_in_angstrom_best_first_with_their_rotation() -> None:
    found = peaks(
        hills(((3.0, 4.2, 5.0), 0.6, 2), ((8.0, 9.0, 9.7), 0.9, 1)),
        TURNS, 10.0, tomogram="a", min_distance=20, origin=(5.0, 0.0, 0.0),
    )  # fmt: skip
    np.testing.assert_allclose(found.positions_zyx, [[85, 90, 97], [35, 42, 50]], atol=0.01)
    assert found.rotations is not None
    assert (found.rotations * TURNS[[1, 2]].inv()).magnitude().max() < 1e-6
    assert list(found.column("score", 0)) == sorted(found.column("score", 0), reverse=True)


def test_of_two_near_peaks_the_better_stays() -> None:
    two = hills(((5.0, 5.0, 4.0), 0.5, 0), ((5.0, 5.0, 9.0), 0.8, 0))
    near, far = (peaks(two, TURNS, 10.0, tomogram="a", min_distance=distance) for distance in (60, 40))
    np.testing.assert_allclose(near.positions_zyx, [[50, 50, 90]], atol=0.01)
    assert len(far) == 2


def test_count_and_threshold_cut_the_list() -> None:
    two = hills(((5.0, 5.0, 4.0), 0.5, 0), ((5.0, 5.0, 9.0), 0.8, 0))
    assert len(peaks(two, TURNS, 10.0, tomogram="a", min_distance=1, count=1)) == 1
    assert len(peaks(two, TURNS, 10.0, tomogram="a", min_distance=1, threshold=0.6)) == 1
    assert len(peaks(two, TURNS, 10.0, tomogram="a", min_distance=1, threshold=0.95)) == 0


def test_a_peak_at_the_corner_is_kept_there() -> None:
    found = peaks(hills(((0.0, 0.0, 15.0), 0.5, 0)), TURNS, 10.0, tomogram="a", min_distance=1)
    np.testing.assert_allclose(found.positions_zyx, [[0, 0, 150]])


def test_rotations_of_another_search_are_refused() -> None:
    with pytest.raises(InputError, match="rotation 2"):
        peaks(hills(((3.0, 4.0, 5.0), 0.6, 2)), TURNS[:2], 10.0, tomogram="a", min_distance=1)


def test_two_planted_particles_are_the_two_best_picks() -> None:
    shape, places = (40, 60, 36), [(18, 14, 20), (22, 44, 16)]
    volume = planted(shape, places[0], TURNS[3]) + planted(shape, places[1], TURNS[8])
    match = match_template(volume, template(), TURNS, mask_radius_vox=RADIUS, tilt_max_deg=TILT)
    found = peaks(match, TURNS, 1.0, tomogram="a", min_distance=10, count=2)
    ordered = found.positions_zyx[np.argsort(found.positions_zyx[:, 1])]
    np.testing.assert_allclose(ordered, places, atol=0.3)
