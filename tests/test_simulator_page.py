"""The simulator's page (`docs/simulator.md`): every field that its tables name exists, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cryoembed.config import parse_config
from cryoembed.recipes.simulate import SimulateConfig

PAGE = (Path(__file__).resolve().parents[1] / "docs/simulator.md").read_text()
HEADER = "| field | what it does | default |"
SPECIES = ("phantoms", "random_phantoms", "fresh_phantoms", "structures")


def tables() -> list[tuple[str, Any]]:
    """(field, default) of every row; a row may name several fields of one default."""
    rows = []
    for table in PAGE.split(HEADER)[1:]:
        for line in table.split("\n\n")[0].splitlines()[2:]:
            names, default = line.split(" | ")[0], line.rsplit(" | ", 1)[1]
            rows += [(name, default.strip("`| ")) for name in re.findall(r"`([\w.]+)`", names)]
    return rows


def field_of(path: str) -> FieldInfo | None:
    """The field at a dotted path, through nested settings and tuples of them."""
    config: type[BaseModel] | None = SimulateConfig
    found = None
    for name in path.split("."):
        found = None if config is None else config.model_fields.get(name)
        if found is None:
            return None
        config = next((kind for kind in kinds(found.annotation) if issubclass(kind, BaseModel)), None)
    return found


def kinds(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in kinds(part)]


def plain(value: Any) -> Any:
    """A default as a YAML file would hold it."""
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def test_the_page_has_tables_of_all_three_rooms() -> None:
    rooms = {path.split(".")[0] for path, _ in tables()}
    assert {"structures", "crowding", "imaging"} <= rooms
    assert len(tables()) > 50


@pytest.mark.parametrize(("path", "default"), tables())
def test_every_field_of_the_page_exists_and_has_the_default_it_says(path: str, default: str) -> None:
    field = field_of(path)
    assert field is not None, f"docs/simulator.md names {path}, which is no setting"
    if default == "required":
        assert field.is_required()
    else:
        assert plain(field.default) == yaml.safe_load(default)


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_of_the_page_loads(text: str) -> None:
    settings = yaml.safe_load(text)
    if not any(name in settings for name in SPECIES):
        settings |= {"random_phantoms": 6, "counts": 10}
    parse_config(SimulateConfig, settings)


def test_configs_and_modules_that_the_page_names_exist() -> None:
    root = Path(__file__).resolve().parents[1]
    named = re.findall(r"configs/\w+\.yaml", PAGE)
    named += [f"cryoembed/{path}" for path in re.findall(r"(?:simulate|views)/[\w/]+\.py", PAGE)]
    assert named
    assert [path for path in named if not (root / path).exists()] == []
