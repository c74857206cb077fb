"""What makes two vectors comparable: the store's key. Vectors made under another key are refused, never mixed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.preprocess.config import InputConfig


class StoreKey(Config):
    """Everything that decides what a vector means (design, section 4, "Embedding")."""

    model_hash: str = Field(min_length=1, description="16 hex digits of the weights")
    model_name: str = ""
    layer: str = Field("projector", description="the output that was kept")
    box_angstrom: float = Field(gt=0)
    box_vox: int = Field(ge=1)
    mask: Literal["none", "hull", "strict"] = "none"
    dilate_vox: float = Field(0.0, ge=0, description="voxels by which the mask was grown")
    input: InputConfig = InputConfig()
    voxel_size: float = Field(10.0, gt=0, description="A, of the boxes")
    copies: int = Field(1, ge=1, description="test-time copies averaged into one vector")
    dim: int = Field(ge=1)


def differences(stored: StoreKey, given: StoreKey) -> list[str]:
    """One text per setting that differs, ``name: store VALUE, now VALUE``; the model comes first."""
    first, second = _flat(stored.model_dump(mode="json")), _flat(given.model_dump(mode="json"))
    names = [name for name in first if name != "model_name" and first[name] != second.get(name)]
    return [f"{name}: store {first[name]}, now {second.get(name)}" for name in names]


def check_same_key(stored: StoreKey, given: StoreKey, *, where: str) -> None:
    """Raise `InputError` naming what differs; the model's name alone does not matter, its hash does."""
    texts = differences(stored, given)
    if not texts:
        return
    if stored.model_hash != given.model_hash:
        names = f"{_model(stored)}, now {_model(given)}"
        what = f"a store made by another model ({names})"
        rest = [text for text in texts if not text.startswith("model_hash")]
        what += f"; also {'; '.join(rest)}" if rest else ""
    else:
        what = f"a store made with other settings ({'; '.join(texts)})"
    raise InputError(f"{where} is {what}. Use the weights and settings it was made with, or index into a new folder")


def _model(key: StoreKey) -> str:
    return f"{key.model_name or 'unnamed'} {key.model_hash}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
