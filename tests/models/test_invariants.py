"""Shell invariants: a known harmonic lands in its own degree, and turning a box changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from cryoembed.models.config import BackboneConfig, ShellConfig, SubtomogramNetworkConfig
from cryoembed.models.invariants import ShellInvariants
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.rotations import matrices_zyx

BOX = 21  # odd: the half turns and quarter turns of such a box map voxels onto voxels


def blobs(generator: np.random.Generator) -> np.ndarray:
    """A smooth lopsided density inside the box."""
    density = np.zeros((BOX,) * 3)
    for _ in range(6):
        at = generator.uniform(-4, 4, size=3) + BOX // 2
        density += np.exp(-np.square(np.indices(density.shape) - at[:, None, None, None]).sum(axis=0) / (2 * 1.8**2))
    return density


def invariants(density: np.ndarray) -> torch.Tensor:
    """The products themselves: near 0 a square root would magnify rounding."""
    shells = ShellInvariants(ShellConfig(shells=6, degree=6), BOX)
    roots = shells(torch.from_numpy(np.ascontiguousarray(density, dtype=np.float32))[None, None])[0]
    return roots * roots.abs()


@pytest.mark.parametrize(("degree", "order"), [(0, 0), (1, -1), (2, 1), (4, 3)])
def test_a_single_harmonic_lies_in_its_own_degree_and_order(degree: int, order: int) -> None:
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    radius = np.sqrt(z**2 + y**2 + x**2)
    angle = sph_harm_y(degree, abs(order), np.arccos(z / np.maximum(radius, 1e-9)), np.arctan2(y, x))
    density = (angle.real if order >= 0 else angle.imag) * np.exp(-((radius - 7) ** 2) / 4)
    found = ShellInvariants(ShellConfig(shells=6, degree=6), BOX).coefficients(
        torch.from_numpy(density.astype(np.float32))[None, None]
    )[0]
    power = found.square().sum(dim=0)
    assert int(power.argmax()) == degree * degree + degree + order
    assert power.max() / power.sum() > 0.97  # the rest is the grid's


def test_quarter_turns_change_nothing() -> None:
    density = blobs(np.random.default_rng(0))
    turned = np.rot90(np.rot90(density, axes=(0, 1)), axes=(1, 2))
    torch.testing.assert_close(invariants(turned), invariants(density), rtol=1e-4, atol=1e-4)


def test_any_rotation_changes_little_and_another_density_much() -> None:
    generator = np.random.default_rng(1)
    density, other = blobs(generator), blobs(generator)
    matrix = matrices_zyx(Rotation.from_euler("zyz", [[0.4, 1.1, -0.7]]))[0]
    centre = np.full(3, BOX // 2)
    turned = ndimage.affine_transform(density, matrix, centre - matrix @ centre, order=3)
    same, changed = (
        float((invariants(values) - invariants(density)).norm() / invariants(density).norm())
        for values in (turned, other)
    )
    assert same < 0.03
    assert changed > 5 * same


def test_a_mirror_image_of_one_shell_gives_the_same_so_products_of_two_do_not_see_the_hand() -> None:
    density = blobs(np.random.default_rng(2))
    torch.testing.assert_close(invariants(density[::-1]), invariants(density), rtol=1e-4, atol=1e-4)


def test_coefficients_of_white_noise_are_as_large_in_every_shell() -> None:
    noise = torch.from_numpy(np.random.default_rng(3).normal(size=(256, 1, BOX, BOX, BOX)).astype(np.float32))
    found = ShellInvariants(ShellConfig(shells=6, degree=2), BOX).coefficients(noise)[:, 1:]
    spread = found.square().mean(dim=(0, 2)).sqrt()  # the innermost shell holds too few voxels for nine harmonics
    assert 0.8 < float(spread.min() / spread.max()) <= 1


def test_the_number_of_invariants_is_what_the_config_says() -> None:
    config = ShellConfig(shells=5, degree=3)
    assert ShellInvariants(config, 16)(torch.zeros(2, 1, 16, 16, 16)).shape == (2, config.features)


@pytest.mark.parametrize("backbone", [None, BackboneConfig(width=4, blocks=(1, 1), stem_stride=2)])
def test_a_network_reads_invariants_alone_or_beside_its_backbone(backbone: BackboneConfig | None) -> None:
    config = SubtomogramNetworkConfig(
        backbone=backbone, shells=ShellConfig(shells=4, degree=2, hidden=8), embedding_dim=8, box_vox=8
    )
    torch.manual_seed(0)
    network = SubtomogramNetwork(config).train()
    boxes = torch.randn(6, 1, 8, 8, 8)
    network.project(boxes).square().sum().backward()
    assert network.shells is not None
    assert network.shells[2].weight.grad.abs().sum() > 0
    assert network.eval().embed(boxes).shape == (6, 8)


def test_a_network_of_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="backbone, shells or both"):
        SubtomogramNetworkConfig(backbone=None)
