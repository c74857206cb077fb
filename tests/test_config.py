"""Settings: frozen, typed, and helpful about typing errors."""

from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from cryoembed.config import Config, load_config
from cryoembed.errors import InputError


class Inner(Config):
    learning_rate: float = 0.1


class Outer(Config):
    steps: int = 10
    optimizer: Inner = Inner()


def test_unknown_key_names_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match="did you mean 'steps'"):
        load_config(Outer, overrides=["step=3"])


def test_unknown_nested_key_names_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match=r"unknown key 'optimizer.learning_rat': did you mean 'learning_rate'"):
        load_config(Outer, overrides=["optimizer.learning_rat=3"])


def test_wrong_type_says_what_came() -> None:
    with pytest.raises(InputError, match=r"steps: .*got 'many'"):
        load_config(Outer, overrides=["steps=many"])


def test_flags_win_over_overrides_and_overrides_over_yaml(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("steps: 1\noptimizer: {learning_rate: 0.5}\n")
    config = load_config(Outer, path, ["steps=2", "optimizer.learning_rate=0.7"], flags={"steps": 3, "optimizer": None})
    assert config.steps == 3
    assert config.optimizer.learning_rate == 0.7


def test_round_trip_through_yaml_is_the_identity() -> None:
    config = Outer(steps=4, optimizer=Inner(learning_rate=0.25))
    assert Outer.model_validate(yaml.safe_load(config.to_yaml())) == config


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(("text", "message"), [("- 1\n- 2\n", "expected a mapping"), ("a: [1", "not readable YAML")])
def test_unusable_yaml_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(Outer, path)
    assert "bad.yaml" in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_config(Outer, tmp_path / "none.yaml")


class Owner(Config):
    inner: Inner = Inner(learning_rate=0.3)
    pair: Outer = Outer(steps=7, optimizer=Inner(learning_rate=0.4))


def test_setting_a_part_keeps_the_rest_of_the_owners_default() -> None:
    config = load_config(Owner, overrides=["pair.steps=8"])
    assert config.pair == Outer(steps=8, optimizer=Inner(learning_rate=0.4))
    assert config.inner.learning_rate == 0.3
    assert load_config(Owner, overrides=["pair.optimizer.learning_rate=0.5"]).pair.steps == 7


def test_a_later_setting_is_not_written_at_its_default_so_that_older_files_still_match() -> None:
    class Box(Config):
        later: ClassVar[tuple[str, ...]] = ("flatten",)
        size: int = 3
        flatten: bool = False

    class Owner(Config):
        box: Box = Box()

    assert Owner().model_dump() == {"box": {"size": 3}}
    assert "flatten" not in Owner().to_yaml()
    asked = load_config(Owner, None, ["box.flatten=true"])
    assert asked.model_dump() == {"box": {"size": 3, "flatten": True}}
    assert Owner.model_validate(asked.model_dump()) == asked
    assert asked != Owner()
