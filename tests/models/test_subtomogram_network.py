from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError, jaxtyped

from cryoembed.errors import InputError
from cryoembed.models.backbone import Backbone
from cryoembed.models.build import build
from cryoembed.models.checkpoint import start_from
from cryoembed.models.config import BackboneConfig, ShellConfig, SubtomogramNetworkConfig
from cryoembed.models.simsiam import SubtomogramNetwork, standardised

TINY = SubtomogramNetworkConfig(backbone=BackboneConfig(width=4, stem_stride=2), embedding_dim=16, box_vox=32)


def test_a_box_becomes_one_vector_of_length_one() -> None:
    vectors = build(TINY).eval().embed(torch.randn(3, 1, 32, 32, 32))
    assert vectors.shape == (3, 16)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_the_embedding_is_the_projectors_output_not_the_predictors() -> None:
    network = build(TINY).eval()
    x = torch.randn(2, 1, 32, 32, 32)
    projected, predicted = network(x)
    torch.testing.assert_close(network.embed(x), torch.nn.functional.normalize(projected, dim=1))
    torch.testing.assert_close(predicted, network.predict(projected))
    assert not torch.allclose(projected, predicted)


def test_a_vector_does_not_depend_on_its_batch() -> None:
    network = build(TINY).eval()
    x = torch.randn(3, 1, 32, 32, 32)
    torch.testing.assert_close(network.embed(x)[1:2], network.embed(x[1:2]))


def test_stages_on_small_maps_run_in_float32_under_autocast() -> None:
    seen = {}
    backbone = Backbone(TINY.backbone)
    for index, stage in enumerate(backbone.stages):
        stage.register_forward_hook(lambda _module, _inputs, output, index=index: seen.update({index: output.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        backbone(torch.randn(2, 1, 32, 32, 32))  # stages give 16, 8, 4 and 2 voxels a side
    assert seen == {0: torch.bfloat16, 1: torch.bfloat16, 2: torch.float32, 3: torch.float32}


@pytest.mark.parametrize("stride", [1, 2])
def test_the_stem_computes_in_float32_and_gives_the_format_of_the_rest(stride: int) -> None:
    stem = Backbone(BackboneConfig(width=4, stem_stride=stride)).stem[0]
    x = torch.randn(2, 1, 16, 16, 16)
    exact = torch.nn.functional.conv3d(x, stem.weight, stride=stride, padding=3)
    torch.testing.assert_close(stem(x), exact)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = stem(x)
    assert autocast.dtype == torch.bfloat16
    torch.testing.assert_close(autocast, exact.bfloat16())  # rounded once, at the end
    cast = stem.to(torch.bfloat16)(x.bfloat16())
    assert cast.dtype == torch.bfloat16
    torch.testing.assert_close(cast.float(), exact, atol=0.05, rtol=0.02)


FOVEATED = SubtomogramNetworkConfig(
    backbone=BackboneConfig(width=4, stem_stride=2),
    fovea=BackboneConfig(width=4),
    fovea_vox=12,
    embedding_dim=16,
    box_vox=32,
)


def test_the_fovea_sees_the_middle_of_the_box_and_nothing_else() -> None:
    network = build(FOVEATED).eval()
    seen = {}
    network.fovea.register_forward_hook(lambda _module, inputs, _output: seen.update(box=inputs[0]))
    x = torch.randn(1, 1, 32, 32, 32)
    network.pool(x)
    assert seen["box"].shape == (1, 1, 12, 12, 12)
    torch.testing.assert_close(seen["box"][0, 0, 6, 6, 6], standardised(x)[0, 0, 16, 16, 16])  # centre on centre


@pytest.mark.parametrize("fovea", [BackboneConfig(width=8), BackboneConfig(width=4, stem_stride=2)])
def test_a_fovea_of_another_architecture_is_no_start(fovea: BackboneConfig) -> None:
    with pytest.raises(InputError, match=r"another architecture: .*fovea\."):
        start_from(build(FOVEATED), build(FOVEATED.model_copy(update={"fovea": fovea})))


def test_a_fovea_needs_a_backbone_and_fits_into_the_box() -> None:
    with pytest.raises(ValueError, match="fovea of 40 voxels"):
        SubtomogramNetworkConfig(fovea=BackboneConfig(), fovea_vox=40, box_vox=32)
    with pytest.raises(ValueError, match="needs a backbone"):
        SubtomogramNetworkConfig(backbone=None, shells=ShellConfig(), fovea=BackboneConfig())


def test_a_network_cast_to_bf16_runs_without_autocast() -> None:
    vectors = build(TINY).eval().to(torch.bfloat16).embed(torch.randn(2, 1, 32, 32, 32).bfloat16())
    assert vectors.dtype == torch.float32


def test_shapes_in_signatures_are_true_and_checked() -> None:
    beartype = pytest.importorskip("beartype").beartype
    checked = jaxtyped(SubtomogramNetwork.predict, typechecker=beartype)
    network = build(TINY).eval()
    assert checked(network, torch.randn(2, 16)).shape == (2, 16)
    with pytest.raises(TypeCheckError):
        checked(network, torch.randn(16))


def test_embedding_ignores_scale_and_offset_of_the_grey_values() -> None:
    torch.manual_seed(0)
    config = SubtomogramNetworkConfig(backbone=BackboneConfig(width=4, stem_stride=2), embedding_dim=8, box_vox=16)
    network = SubtomogramNetwork(config).eval()
    boxes = torch.randn(3, 1, 16, 16, 16)
    torch.testing.assert_close(network.embed(7.0 * boxes - 3.0), network.embed(boxes), atol=1e-5, rtol=0.0)
