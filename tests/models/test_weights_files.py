from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cryoembed.errors import InputError
from cryoembed.models import checkpoint
from cryoembed.models.build import build
from cryoembed.models.checkpoint import (
    bundled_weights,
    find_weights,
    load_weights,
    read_card,
    save_weights,
    start_from,
)
from cryoembed.models.config import BackboneConfig, ModelCard, SubtomogramNetworkConfig, VoxelNetworkConfig
from cryoembed.models.simsiam import SubtomogramNetwork
from cryoembed.preprocess.config import InputConfig

CONFIG = SubtomogramNetworkConfig(backbone=BackboneConfig(width=4, stem_stride=2), embedding_dim=8, box_vox=16)
CARD = ModelCard(name="tiny", network=CONFIG, input=InputConfig(voxel_size=12.5), metrics={"recall": 0.5}, steps=3)
BOXES = torch.linspace(-1, 1, 2 * 16**3).reshape(2, 1, 16, 16, 16)


@pytest.fixture
def network() -> SubtomogramNetwork:
    torch.manual_seed(1)
    return build(CONFIG).eval()


@pytest.fixture
def weights(network: SubtomogramNetwork, tmp_path: Path) -> Path:
    save_weights(tmp_path / "tiny.safetensors", network, CARD)
    return tmp_path / "tiny.safetensors"


def test_weights_and_card_come_back_as_they_were(network: SubtomogramNetwork, weights: Path) -> None:
    loaded = load_weights(weights)
    assert loaded.card == CARD == read_card(weights)
    assert not loaded.module.training
    assert torch.equal(loaded.module.embed(BOXES), network.embed(BOXES))
    assert all(parameter.requires_grad for parameter in loaded.module.parameters())


def test_the_same_weights_give_the_same_bytes_and_hash(network: SubtomogramNetwork, tmp_path: Path) -> None:
    hashes = [save_weights(tmp_path / f"{name}.safetensors", network, CARD) for name in "abc"]
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]
    assert hashes[0] == hashes[1] == load_weights(tmp_path / "a.safetensors").model_hash
    assert len(hashes[0]) == 16


def test_the_hash_follows_weights_network_and_input_but_not_the_description(
    network: SubtomogramNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    first = save_weights(path, network, CARD)
    assert save_weights(path, network, CARD.model_copy(update={"name": "other", "steps": 9})) == first
    assert save_weights(path, network, CARD.model_copy(update={"input": InputConfig(voxel_size=10)})) != first
    assert save_weights(path, network.to(memory_format=torch.channels_last_3d), CARD) == first
    network.projector[0].weight.data[0, 0] += 1e-3
    assert save_weights(path, network, CARD) != first


def test_half_weights_are_half_as_large_and_give_nearly_the_same_vectors(
    network: SubtomogramNetwork, weights: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.safetensors"
    save_weights(half, network, CARD, half=True)
    stored = load_file(half)
    assert all(tensor.dtype == torch.float16 for tensor in stored.values() if tensor.ndim > 1)
    assert stored["backbone.stem.1.running_var"].dtype == torch.float32
    loaded = load_weights(half)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
    assert (loaded.module.embed(BOXES) * network.embed(BOXES)).sum(dim=1).min() > 0.999
    assert loaded.model_hash != load_weights(weights).model_hash


def test_loading_leaves_the_random_state_alone(weights: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_weights(weights)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "model.pth", "renamed.safetensors"])
def test_a_torch_checkpoint_is_refused_as_a_pickle(tmp_path: Path, name: str) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(InputError, match="pickle"):
        load_weights(tmp_path / name)


def test_a_bare_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="pickle"):
        load_weights(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 4, 300, -1])
def test_a_truncated_file_is_refused(weights: Path, keep: int) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InputError, match="truncated"):
        load_weights(weights)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        load_weights(tmp_path / "none.safetensors")


def rewrite(path: Path, *, header: dict[str, str] | None = None, **tensors: torch.Tensor) -> None:
    card = {checkpoint.HEADER_KEY: json.dumps(CARD.model_dump(mode="json"))}
    stored = load_file(path)
    save_file({**stored, **tensors}, path, metadata=card if header is None else header)


def test_an_unknown_schema_version_is_refused(weights: Path) -> None:
    values = {**CARD.model_dump(mode="json"), "schema_version": 99}
    rewrite(weights, header={checkpoint.HEADER_KEY: json.dumps(values)})
    with pytest.raises(InputError, match="schema version 99"):
        load_weights(weights)


def test_weights_without_a_card_or_with_a_damaged_one_are_refused(weights: Path) -> None:
    rewrite(weights, header={"format": "pt"})
    with pytest.raises(InputError, match="no model card"):
        load_weights(weights)
    rewrite(weights, header={checkpoint.HEADER_KEY: "{"})
    with pytest.raises(InputError, match="damaged"):
        load_weights(weights)
    rewrite(weights, header={checkpoint.HEADER_KEY: "[]"})
    with pytest.raises(InputError, match="schema version"):
        load_weights(weights)


def test_tensors_of_wrong_shape_name_or_value_are_refused(weights: Path) -> None:
    name = "projector.0.weight"
    good = load_file(weights)[name]
    rewrite(weights, **{name: torch.zeros(3, 3)})
    with pytest.raises(InputError, match=r"projector\.0\.weight has shape \(3, 3\), expected \(32, 32\)"):
        load_weights(weights)
    rewrite(weights, **{name: torch.full_like(good, torch.nan)})
    with pytest.raises(InputError, match="NaN"):
        load_weights(weights)
    rewrite(weights, **{name: good, "surplus": torch.zeros(1)})
    with pytest.raises(InputError, match="surplus is not part"):
        load_weights(weights)


def test_a_module_other_than_the_card_says_is_not_written(network: SubtomogramNetwork, tmp_path: Path) -> None:
    card = CARD.model_copy(update={"network": CONFIG.model_copy(update={"embedding_dim": 16})})
    with pytest.raises(InputError, match="do not fit"):
        save_weights(tmp_path / "a.safetensors", network, card)
    with pytest.raises(InputError, match="suffix"):
        save_weights(tmp_path / "a.pt", network, CARD)
    assert not list(tmp_path.iterdir())


def test_bundled_weights_lists_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "WEIGHTS_FOLDER", tmp_path)
    (tmp_path / "voxel_small.safetensors").touch()
    assert bundled_weights("voxel_small") == tmp_path / "voxel_small.safetensors"
    with pytest.raises(InputError, match="available: voxel_small"):
        bundled_weights("voxel_large")


def test_a_head_network_starts_from_a_pretrained_backbone() -> None:
    config = VoxelNetworkConfig(backbone=BackboneConfig(width=4), pyramid_channels=8, global_dim=8, voxel_dim=8)
    pretrained, headed = build(config), build(config.model_copy(update={"heads": ("denoise",), "head_channels": 4}))
    untouched = start_from(headed, pretrained)
    assert untouched
    assert all(name.startswith("heads.denoise.") for name in untouched)
    assert torch.equal(headed.backbone.stem[0].weight, pretrained.backbone.stem[0].weight)
    with pytest.raises(InputError, match="no layer in common"):
        start_from(torch.nn.Linear(2, 2), pretrained)


def test_weights_are_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    config = SubtomogramNetworkConfig(backbone=BackboneConfig(width=4, stem_stride=2), embedding_dim=8, box_vox=16)
    save_weights(path, build(config), ModelCard(name="w", network=config))
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": BackboneConfig(width=8)}, r"backbone\.width is 4 there, 8 here"),
        ({"backbone": BackboneConfig(width=4, stem_stride=2)}, r"backbone\.stem_stride is 1 there, 2 here"),
        ({"pyramid_channels": 16}, r"pyramid_channels is 8 there, 16 here"),
    ],
)
def test_weights_of_another_architecture_are_no_start_and_the_setting_is_named(change: dict, message: str) -> None:
    config = VoxelNetworkConfig(backbone=BackboneConfig(width=4), pyramid_channels=8, global_dim=8, voxel_dim=8)
    with pytest.raises(InputError, match=message):
        start_from(build(config.model_copy(update={**change, "level_losses": ()})), build(config))


def test_an_experiment_folder_does_not_hide_bundled_weights_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voxel_small").mkdir()
    assert find_weights("voxel_small") == bundled_weights("voxel_small")


@pytest.mark.parametrize(
    ("name", "expected"), [("voxel_small", "550f09bb2fdbe1d5"), ("subtomogram_small", "7d235c4b198ab3e0")]
)
def test_new_settings_of_networks_leave_the_hash_of_shipped_weights_as_it_was(name: str, expected: str) -> None:
    """Stores are keyed by it: another hash would make every store of a user useless."""
    assert load_weights(bundled_weights(name)).model_hash == expected
