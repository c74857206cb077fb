"""Maps: whatever their scale, background or box, the particle alone comes out; what can't be used is named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cryoembed.errors import InputError
from cryoembed.io.mrc import read_mrc, read_tomogram
from cryoembed.simulate.density.maps import body, template_from_map
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import DENSITY_PER_KDA

# kDa of what each 10 A map holds. By the atoms of the same entry, where these are at hand; else by the map's own
# integral on the scale that those share (five of SHREC 2021's hold half of the mass its table gives)
BY_ATOMS = {"1s3x": 42, "3gl1": 84, "3h84": 73, "2cg9": 169, "3d2f": 220, "1u6g": 221, "3cf3": 245, "1bxn": 258,
            "1qvr": 277, "3j9i": 659, "3qm1": 29.5, "4v4r_30S": 771}  # fmt: skip
BY_SCALE = {"4cr2": 1150, "5mrc": 2870, "4v94_single": 855, "4v4r": 2050, "4v4r_50S": 1216, "3ipm": 1008, "6utj": 837}
OTHER_SCALES = {"4v7r": 2500, "2uv8": 2500, "6pxm": 465, "1f4a": 465}
MEMBRANE = {"5gjv": 310, "4pe5": 280, "5ide": 336, "5kxi": 210, "5tj6": 100, "5tqq": 179, "5vai": 129, "5wek": 391,
            "6rd4": 700}  # fmt: skip
EXPERIMENTAL = {"betaGal": 465, "emd_5625": 700, "emd_1832": 800}


def ball(size=24, centre=(12, 12, 12), radius=4.0):
    z, y, x = np.indices((size,) * 3)
    return ndimage.gaussian_filter(
        (((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < radius**2).astype(float), 0.7
    )


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (12.0, 0.0), (250.0, -0.23), (1e-3, 5.0)])
def test_scale_and_background_of_a_map_do_not_matter(scale, shift):
    plain = template_from_map("a", ball(), 10.0, 100.0, 10.0)
    other = template_from_map("a", ball() * scale + shift, 10.0, 100.0, 10.0)
    assert np.allclose(other.density, plain.density, atol=1e-4)


def test_a_dark_particle_is_refused_unless_said():
    dark = 3.0 - ball()
    with pytest.raises(InputError, match="contrast: dark"):
        template_from_map("a", dark, 10.0, 100.0, 10.0)
    turned = template_from_map("a", dark, 10.0, 100.0, 10.0, contrast="dark")
    assert np.allclose(turned.density, template_from_map("a", ball(), 10.0, 100.0, 10.0).density, atol=1e-4)
    with pytest.raises(InputError, match="contrast: bright"):
        template_from_map("a", ball(), 10.0, 100.0, 10.0, contrast="dark")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_counted(bad):
    density = ball()
    density[3, 4, 5:8] = bad
    with pytest.raises(InputError, match="3 voxels are no numbers"):
        template_from_map("a", density, 10.0, 100.0, 10.0)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_a_constant_map_is_refused(value):
    with pytest.raises(InputError, match="no positive mass"):
        template_from_map("a", np.full((9, 9, 9), value), 5.0, 10.0, 10.0)


def test_a_mass_that_is_not_positive_is_refused():
    with pytest.raises(InputError, match="not positive"):
        template_from_map("a", ball(), 10.0, -3.0, 10.0)


def test_an_image_is_no_map():
    with pytest.raises(InputError, match="expected a volume"):
        body("a", np.ones((9, 9)), 10.0)


def test_noise_and_specks_do_not_pull_the_centre(generator):
    noisy = ball(40, (20, 20, 20)) + generator.normal(0, 0.05, (40, 40, 40))
    noisy[2, 2, 2] = 0.9
    template = template_from_map("a", noisy, 10.0, 100.0, 10.0)
    assert np.abs(template.origin_offset_zyx).max() < 1.0
    assert template.box_vox < 20


def test_two_bodies_ask_which_is_meant():
    two = ball(40, (12, 20, 20)) + ball(40, (29, 20, 20))
    with pytest.raises(InputError, match="component: largest"):
        template_from_map("a", two, 10.0, 100.0, 10.0)
    both = template_from_map("a", two, 10.0, 200.0, 10.0, component="all")
    one = template_from_map("a", two, 10.0, 100.0, 10.0, component="largest")
    assert both.box_vox > one.box_vox
    assert one.interior == pytest.approx(both.interior, rel=0.02)


def test_a_small_neighbour_is_no_second_complex():
    density = ball(40, (12, 20, 20)) + ball(40, (29, 20, 20), 2.0)
    assert template_from_map("a", density, 10.0, 100.0, 10.0).mass_kda == 100


def test_a_wrong_mass_is_noticed(caplog):
    template_from_map("a", ball(), 10.0, 160.0, 10.0)
    assert not caplog.records
    template_from_map("a", ball(), 10.0, 640.0, 10.0)
    assert "check mass_kda" in caplog.text


def test_the_double_map_of_shrec_is_refused_and_its_half_is_the_single(shared_data):
    density = read_tomogram(shared_data / "maps/10A/4v94.mrc.gz").data
    with pytest.raises(InputError, match="2 bodies"):
        template_from_map("4v94", density, 10.0, 855.0, 10.0)
    one = template_from_map("4v94", density, 10.0, 855.0, 10.0, component="largest")
    single = read_tomogram(shared_data / "maps/10A/4v94_single.mrc").data
    other = template_from_map("4v94", single, 10.0, 855.0, 10.0)
    assert one.radius == pytest.approx(other.radius, abs=10)
    assert one.interior == pytest.approx(other.interior, rel=0.1)


def test_all_maps_calibrate_to_one_density_per_kda(shared_data):
    """Raw, the integrals per kDa differ twelvefold and more; the interiors tell that the masses are right, too."""
    interiors = {}
    for name, mass in {**BY_ATOMS, **BY_SCALE, **OTHER_SCALES}.items():
        template = _template(shared_data, f"maps/10A/{name}.mrc*", mass)
        _check(template, mass)
        interiors[name] = template.interior
    for name, mass in MEMBRANE.items():
        template = _template(shared_data, f"maps/10A_membrane/{name}_*.mrc*", mass)
        _check(template, mass)
        interiors[f"membrane {name}"] = template.interior
    assert max(interiors.values()) / min(interiors.values()) < 1.6, interiors


@pytest.mark.parametrize("name", ["2uv8", "3ipm", "4cr2", "4v4r", "6utj"])
def test_the_five_angstrom_maps_agree_with_those_of_ten(shared_data, name):
    mass = {**BY_ATOMS, **BY_SCALE, **OTHER_SCALES}[name]
    fine, coarse = (_template(shared_data, f"maps/{kind}/{name}.mrc*", mass) for kind in ("5A", "10A"))
    _check(fine, mass)
    assert fine.interior == pytest.approx(coarse.interior, rel=0.2)
    assert fine.radius == pytest.approx(coarse.radius, abs=12)


@pytest.mark.parametrize("name", list(EXPERIMENTAL))
def test_experimental_maps_calibrate_likewise(shared_data, name):
    template = _template(shared_data, f"maps/experimental/{name}.m*", EXPERIMENTAL[name])
    _check(template, EXPERIMENTAL[name])
    assert 0.3 < template.interior < 1.0


def test_raw_maps_of_one_scale_prove_the_masses_by_atoms(shared_data):
    """An independent check of our masses: one constant ties the maps' integrals to the atoms' kDa within 10 %."""
    ratios = []
    for name, mass in BY_ATOMS.items():
        data, _ = read_mrc(shared_data / f"maps/10A/{name}.mrc.gz")
        path = next((shared_data / "structures").glob(f"{name}.*"))
        measured = read_molecule(path).mass_kda
        assert measured == pytest.approx(mass, rel=0.02)
        ratios.append(data.sum(dtype=np.float64) / measured)
    assert np.abs(np.array(ratios) / np.median(ratios) - 1).max() < 0.1


def test_membrane_maps_hold_no_slab_of_lipid(shared_data):
    """Protein alone: nothing reaches the box's sides in the plane of the membrane, so no slab need be cut away."""
    for path in sorted((shared_data / "maps/10A_membrane").glob("*.mrc.gz")):
        data = np.asarray(read_mrc(path)[0], dtype=np.float64)
        middle = data[data.shape[0] // 2]
        assert np.abs(middle[[0, 1, -2, -1]]).max() < 1e-3 * data.max()
        assert np.count_nonzero(middle > 0.1 * data.max()) < 130  # voxels of 100 A^2: a protein's cross-section


def test_the_membrane_of_the_real_set_lies_off_the_centre_of_mass(shared_data):
    (spec,) = expand(StructureSpec(path="maps/10A_membrane/6rd4*.mrc.gz", mass_kda=700, membrane=True), shared_data)
    assert (spec.split, spec.name) == ("validation", "6rd4_mbz_align_shift")
    template = structure_template(spec, 10.0)
    assert template.membrane
    assert template.origin_offset_zyx[0] == pytest.approx(-63, abs=5)


def _template(shared_data, pattern, mass):
    (spec,) = expand(StructureSpec(path=pattern, mass_kda=mass), shared_data)
    return structure_template(spec, 10.0)


def _check(template, mass):
    assert template.integral == pytest.approx(mass * DENSITY_PER_KDA, rel=0.1)
    centre = np.asarray(ndimage.center_of_mass(template.density)) - template.box_vox // 2
    assert np.abs(centre).max() < 0.05
