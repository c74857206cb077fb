"""Templates: calibrated, centred, and turned the way a Rotation says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.splat import splat
from cryoembed.simulate.density.template import DENSITY_PER_KDA, Template, rotate


def centre_of_mass(density):
    return np.asarray(ndimage.center_of_mass(density)) - density.shape[0] // 2


def test_integral_is_mass_times_one_constant(species):
    for template in species:
        total = template.density.sum(dtype=np.float64) * template.voxel_size**3
        assert total == pytest.approx(template.mass_kda * DENSITY_PER_KDA, rel=0.02)


def test_protein_interior_is_near_one_at_ten_angstrom(species):
    assert all(0.6 < template.density.max() < 1.8 for template in species)


def test_centre_of_mass_is_at_half_the_box(species):
    for template in species:
        assert np.abs(centre_of_mass(template.density)).max() < 0.05


def test_rotation_and_shift_move_the_centre_of_mass_by_the_shift_only(species, generator):
    for template in species:
        shift = generator.uniform(-0.5, 0.5, 3)
        turned = rotate(template, Rotation.random(rng=generator), shift)
        assert np.abs(centre_of_mass(turned) - shift).max() < 0.1
        assert turned.sum() == pytest.approx(template.density.sum(), rel=0.01)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_marker_lands_where_the_rotation_sends_it(marked, seed):
    rotation = Rotation.random(rng=np.random.default_rng(seed))
    atoms_xyz = np.array([[0.0, 0.0, 0.0], [80.0, 0.0, 0.0], [0.0, 55.0, 0.0]])
    weights = np.array([5.0, 1.0, 1.0]) / 7
    atoms_xyz = atoms_xyz - weights @ atoms_xyz
    where = rotation.apply(atoms_xyz)[:, ::-1]
    expected = splat(where, weights * marked.integral / 1000, marked.box_vox, 10.0, 30.0 / (np.pi * np.sqrt(2)))
    turned = rotate(marked, rotation)
    assert np.corrcoef(turned.ravel(), expected.ravel())[0, 1] > 0.99


def test_quarter_turn_about_z_carries_x_to_y(marked):
    turned = rotate(marked, Rotation.from_euler("z", 90, degrees=True), order=1)
    before, after = marked.density, np.asarray(turned)
    far_x = before[marked.box_vox // 2, marked.box_vox // 2, -5:].sum()
    far_y = after[marked.box_vox // 2, -5:, marked.box_vox // 2].sum()
    assert far_y == pytest.approx(far_x, rel=0.05)
    assert far_x > 5 * before[marked.box_vox // 2, marked.box_vox // 2, :4].sum()


def test_mask_holds_the_centre_of_a_hollow_particle(species):
    for template in species:
        centre = (template.box_vox // 2,) * 3
        assert template.mask()[centre]
        assert 1.0 < template.mask().sum() * 1000 / (template.mass_kda * DENSITY_PER_KDA) < 3.5


def test_an_uncalibrated_density_is_refused():
    with pytest.raises(InputError, match=r"calibrated\(\)"):
        Template("x", np.ones((5, 5, 5), np.float32), 10.0, 50.0)
    with pytest.raises(InputError, match="cubic"):
        Template("x", np.ones((5, 6, 5), np.float32), 10.0, 100.0)


def test_no_atoms_is_an_error():
    with pytest.raises(InputError, match="no atoms"):
        template_from_atoms("x", np.zeros((0, 3)), [], 10.0, 100.0)
    with pytest.raises(InputError, match="positive mass"):
        template_from_atoms("x", [(0, 0, 0)], [-1.0], 10.0, 100.0)
