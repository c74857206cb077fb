"""Settings of samples: contradictions are refused."""

from __future__ import annotations

import pytest

from cryoembed.errors import InputError

VOXEL = 10.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"counts": 3, "crowding": 0.1}, "either counts or crowding or particles"),
        ({"counts": 3, "particles": [1, 2]}, "either counts or crowding or particles"),
        ({"particles": [5, 2]}, "particles"),
        ({"size_shares": [1, 1, 1, 1, -1], "crowding": 0.1}, "none negative"),
        ({"size_shares": [1, 1, 1], "crowding": 0.1}, "size_shares"),
        ({"size_shares": [1, 1, 1, 1, 1], "counts": 3}, "size_shares are for"),
        ({"stick_out": True, "margin": 20}, "drop one"),
        ({"membrane_proteins": [1, 2], "membrane_protein_density": [1, 2]}, "give either"),
        ({"fiducial_diameter": [120, 80]}, "fiducial_diameter"),
        ({"envelope": {"kind": "slab", "thicknes_nm": [1, 2]}}, "thickness_nm"),
    ],
)
def test_contradictory_settings_are_refused(make_config, wrong, message):
    with pytest.raises(InputError, match=message):
        make_config(**wrong)
