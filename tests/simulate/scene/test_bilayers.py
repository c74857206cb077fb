"""Bilayers: thickness, head groups, and second membranes inside."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.simulate.scene.bilayers import MembraneSpec, Profile
from cryoembed.simulate.scene.canvas import Canvas
from cryoembed.simulate.scene.membrane_voxels import draw_membrane
from cryoembed.simulate.scene.surfaces import Ellipsoid, Sheet

AXES = np.eye(3)
CENTRE = np.array([200.0, 300.0, 400.0])


def test_a_bilayer_has_its_head_groups_where_the_thickness_says():
    canvas = Canvas((64, 16, 16), 2.0, gap=0, margin=0, classes=("membrane",))
    sheet = Sheet(np.array([64.0, 0.0, 0.0]), AXES)
    assert draw_membrane(canvas, sheet, Profile(15.0, 3.0), "membrane") is not None
    profile = canvas.density[:, 8, 8]
    heads = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] > profile[2:])) + 1
    assert list(heads * 2.0) == [pytest.approx(49.0, abs=1.1), pytest.approx(79.0, abs=1.1)]
    assert 0.1 < profile[32] < 0.5 * profile.max()
    assert profile[0] == profile[-1] == 0
    assert (canvas.occupancy[:, 8, 8] > 0).sum() * 2 == pytest.approx(36, abs=2)


def test_a_double_membrane_is_two_bilayers_of_one_object():
    canvas = Canvas((64, 64, 64), 10.0, gap=0, margin=0, classes=("vesicle",))
    ball = Ellipsoid(np.full(3, 320.0), AXES, semi=np.full(3, 280.0))
    draw_membrane(canvas, ball, Profile(15.0, 5.0, spacing=120.0), "vesicle")
    ray = canvas.occupancy[32, 32, 32:]
    assert list(np.flatnonzero(np.diff(ray.astype(int)) > 0)) == [14, 26]  # first voxels within 20 A of 160 and 280 A
    assert set(np.unique(canvas.occupancy)) == {0, 1}
    assert ray[0] == 0  # no ghost in the middle


def test_a_second_membrane_is_left_out_where_it_has_no_room():
    small = Ellipsoid(CENTRE, AXES, semi=np.full(3, 100.0))
    assert Profile(15.0, 5.0, spacing=120.0).within(small).spacing is None
    assert Profile(15.0, 5.0, spacing=40.0).within(small).spacing == 40.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thickness": [35, 25]}, "thickness"),
        ({"radius": [0, 10]}, "radius"),
        ({"count": [-1, 2]}, "count"),
        ({"kind": "cube"}, "sphere"),
        ({"kind": "torus", "minor_radius": [600, 700]}, "tube"),
        ({"double": 1.5}, "double"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        parse_config(MembraneSpec, wrong)
