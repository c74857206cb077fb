"""Frozen, typed settings: flags first, YAML for experiments, an unknown key is an error that names the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from cryoembed.errors import InputError

C = TypeVar("C", bound="Config")
_YAML = (".yaml", ".yml")


class Config(BaseModel):
    """Base of every settings class: immutable, strict about names, comparable.

    Attributes
    ----------
    later
        Settings younger than files that hold this config (weights, stores, checkpoints). They are not written at their
        default, so that hashes and comparisons with what was written before stay as they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    later: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, values: Any) -> Any:
        """Lay a partly given inner config over the owner's default for it, not over the inner class's own defaults."""
        if not isinstance(values, Mapping):
            return values
        merged = dict(values)
        for name, value in values.items():
            default = cls.model_fields[name].default if name in cls.model_fields else None
            if isinstance(value, Mapping) and isinstance(default, BaseModel):
                merged[name] = _laid_over(default.model_dump(), value)
        return merged

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values

    def to_yaml(self) -> str:
        """Return the resolved settings as YAML text, in the order of definition."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(
    cls: type[C], path: Path | None = None, overrides: Iterable[str] = (), *, flags: Mapping[str, Any] | None = None
) -> C:
    """Read a config from YAML (or defaults), apply ``key.sub=value`` overrides, then flags, and validate it.

    Parameters
    ----------
    cls
        The config class.
    path
        A YAML file whose top level is a mapping; ``None`` takes the defaults.
    overrides
        Strings ``a.b=value`` as given to ``--set``; values are parsed as YAML.
    flags
        Values by (dotted) key that win over everything else; ``None`` means not given. An override inside of a flag's
        setting (``stream.seed=1`` beside ``--stream FILE``) is laid over what the flag names.

    Raises
    ------
    InputError
        If the file is missing or no mapping, a key is unknown (the nearest known key is named) or a value is wrong.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_mapping(path)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    inside = [override for override in overrides if any(override.startswith(f"{key}.") for key in given)]
    _override(values, [override for override in overrides if override not in inside])
    for key, value in given.items():
        _assign(values, key.split("."), value, key)
    _override(values, inside)
    return parse_config(cls, values, source=str(path) if path else "settings")


def _override(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Lay ``key.sub=value`` strings over a mapping."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise InputError(f"--set {override!r}: expected key=value, for example --set optimizer.lr=0.001")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(
                f"--set {override!r}: the value is not readable YAML; quote it, or close its brackets"
            ) from None
        _assign(values, key.strip().split("."), value, key)


def sets(path: Path, key: str) -> bool:
    """Whether a YAML file of settings has ``key`` at its top; False for a file that `load_config` refuses."""
    try:
        return key in _read_mapping(path)
    except InputError:
        return False


def parse_config(cls: type[C], values: Mapping[str, Any], *, source: str = "settings") -> C:
    """Validate a mapping against ``cls``; an `InputError` lists every wrong key with a remedy."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{source}: " + "; ".join(_explain(cls, values, item) for item in error.errors())) from None


def _laid_over(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    if "kind" in values and values["kind"] != base.get("kind"):
        return dict(values)  # another kind of thing altogether
    both = (name for name, value in values.items() if isinstance(value, Mapping) and isinstance(base.get(name), dict))
    return {**base, **values, **{name: _laid_over(base[name], values[name]) for name in both}}


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"config {path} does not exist")
    try:
        loaded = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {path} is not readable YAML: {str(error).splitlines()[0]}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InputError(f"config {path}: expected a mapping of settings at the top, got {type(loaded).__name__}")
    return loaded


def _assign(values: dict[str, Any], keys: list[str], value: Any, dotted: str) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if isinstance(inner, str | Path) and Path(inner).suffix in _YAML:  # settings given as a file are opened here
            inner = values[key] = _read_mapping(Path(inner))
        if not isinstance(inner, dict):
            raise InputError(f"--set {dotted}: {key!r} is a single value, it has no settings inside")
        values = inner
    values[keys[-1]] = value


def _explain(cls: type[BaseModel], values: Any, item: Any) -> str:
    location = [part for part in item["loc"] if isinstance(part, str)]
    dotted = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{dotted or 'settings'}: {item['msg']} (got {item.get('input')!r})"
    known = _known_keys(cls, location[:-1])
    near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"unknown key {dotted!r}: {hint}"


def _known_keys(cls: type[BaseModel], path: list[str]) -> list[str]:
    models = [cls]
    for key in path:
        inner: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(key)
            if field is not None:
                inner += _models_in(field.annotation)
        models = inner or models
    return [key for model in models for key in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
