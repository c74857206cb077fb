"""Weights on disk: safetensors with a ModelCard in the header, never a pickle; and the hash that names a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.models.build import Network, build
from cryoembed.models.config import SCHEMA_VERSION, ModelCard

# One key: the library keeps several in no fixed order, and the same weights must give the same bytes.
HEADER_KEY = "cryoembed_model_card"
WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"
PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar"})
ADVICE = "cryoembed reads safetensors files written by `cryoembed pretrain` or `train`"


class LoadedModel(NamedTuple):
    """A network in evaluation mode, what its file says of it, and the hash that stores are keyed by."""

    module: Network
    card: ModelCard
    model_hash: str


def save_weights(path: Path, module: nn.Module, card: ModelCard, *, half: bool = False) -> str:
    """Write weights and card atomically; the same weights and card give the same bytes. Return the model hash.

    Parameters
    ----------
    path
        Where to; the suffix must be ``.safetensors``.
    module
        The network that ``card.network`` describes, not folded.
    card
        Goes into the header as JSON.
    half
        Store kernels and matrices as float16; normalisation statistics and biases stay float32 (they are few).

    Raises
    ------
    InputError
        If the suffix is another, the module is not what the card says, a tensor is not finite, or the folder cannot
        be written to.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"weights {path}: expected the suffix .safetensors")
    tensors = {name: _stored(tensor, half=half) for name, tensor in module.state_dict().items()}
    _check_tensors(tensors, card, source=str(path))
    header = {HEADER_KEY: json.dumps(card.model_dump(mode="json"), sort_keys=True)}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=header))  # save_file would make it readable by its owner only
    return model_hash(tensors, card)


def load_weights(path: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read weights written by `save_weights` into a float32 network in evaluation mode.

    Raises
    ------
    InputError
        If the file is missing, a pickle, truncated, without a card, of an unknown schema version, or does not hold
        the tensors of the network it describes.
    """
    path = Path(path)
    tensors, header = _read(path)
    card = _parse_card(header, path)
    _check_tensors(tensors, card, source=str(path))
    with torch.device("meta"):  # no random initialisation: loading must not move anyone's random state
        module = build(card.network)
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    module.load_state_dict(weights, assign=True)
    return LoadedModel(module.to(device).eval(), card, model_hash(tensors, card))


def read_card(path: Path) -> ModelCard:
    """Read the card alone, without the weights."""
    return _parse_card(_read(Path(path), with_tensors=False)[1], Path(path))


def start_from(module: nn.Module, source: nn.Module) -> list[str]:
    """Copy every tensor that both networks have in one shape: the backbone and pyramid, and more where they are alike.

    Returns
    -------
    Names of the tensors of ``module`` that were left as they were: new heads, or a projector of another width.

    Raises
    ------
    InputError
        If the networks share no layer, or backbones or pyramids differ in architecture; the settings are named.
    """
    theirs, ours = source.state_dict(), module.state_dict()
    common = [name for name in ours if name in theirs]
    if not common:
        raise InputError("the weights to start from have no layer in common with this network: wrong kind or width")
    shared = {name: theirs[name] for name in common if theirs[name].shape == ours[name].shape}
    unlike = [name for name in common if name not in shared and name.startswith(("backbone.", "fovea.", "pyramid."))]
    settings = _different_settings(module, source)
    if unlike or any(
        name.startswith(("backbone.", "fovea.", "encoder.", "shells.")) for name in settings
    ):  # a stride shows in no shape
        raise InputError(
            "the weights to start from are of another architecture: "
            f"{'; '.join(settings) or unlike[0]}; set network as it was there, or take other weights"
        )
    module.load_state_dict(shared, strict=False)
    return [name for name in ours if name not in shared]


def _different_settings(module: nn.Module, source: nn.Module) -> list[str]:
    """Settings of two networks of one kind that shape shared layers and differ, as a user reads them."""
    here, there = (_flat(part.config.model_dump()) if isinstance(part, Network) else {} for part in (module, source))
    names = [
        name for name in here if name in there and name not in ("kind", "heads", "level_losses", "box_vox", "mask")
    ]
    return [f"{name} is {there[name]} there, {here[name]} here" for name in names if here[name] != there[name]]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def bundled_weights(name: str) -> Path:
    """Return the path of weights that come with the package, such as ``voxel_small``; `InputError` lists them."""
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if path.is_file():
        return path
    available = sorted(file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors"))
    raise InputError(f"no bundled weights {name!r}; available: {', '.join(available) or 'none'}; or give a file's path")


def find_weights(reference: str) -> Path:
    """Return the path of weights given as a file or by a bundled name; a file (not a folder) that is there wins."""
    path = Path(reference)
    return path if path.suffix == ".safetensors" or path.is_file() else bundled_weights(reference)


def model_hash(tensors: Mapping[str, Tensor], card: ModelCard) -> str:
    """Return 16 hex digits over the stored tensors, the network and its input: all that decides an embedding."""
    digest = hashlib.sha256()
    decisive = card.model_dump(mode="json", include={"network", "input"})
    if decisive["network"].get("fovea", "") is None:  # networks without one keep the hash from before there were any
        del decisive["network"]["fovea"], decisive["network"]["fovea_vox"]
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float16 if half and tensor.ndim > 1 else torch.float32).clone()


def _read(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise InputError(f"weights {path} do not exist; give a .safetensors file or the name of bundled weights")
    if path.suffix.lower() in PICKLE_SUFFIXES or _is_pickle(path):
        raise InputError(f"weights {path} are a pickle, which can run any code when opened: refused; {ADVICE}")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"weights {path} are truncated or no safetensors file ({error}); copy them again") from None
    except OSError as error:
        raise InputError(f"weights {path} cannot be read: {error.strerror or error}") from None


def _is_pickle(path: Path) -> bool:
    """A zip, or pickle's first opcode where safetensors has the length of its header followed by a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK\x03\x04"):
        return True
    return start[:1] == b"\x80" and start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"} and start[8:9] != b"{"


def _parse_card(header: Mapping[str, str], path: Path) -> ModelCard:
    if HEADER_KEY not in header:
        raise InputError(f"weights {path} carry no model card; {ADVICE}")
    try:
        values: Any = json.loads(header[HEADER_KEY])
    except json.JSONDecodeError as error:
        raise InputError(f"weights {path}: the model card is damaged ({error}); copy them again") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"weights {path}: schema version {version!r}, this cryoembed reads {SCHEMA_VERSION}; "
            "update cryoembed or train again"
        )
    return parse_config(ModelCard, values, source=f"model card of {path}")


def _check_tensors(tensors: Mapping[str, Tensor], card: ModelCard, *, source: str) -> None:
    with torch.device("meta"):
        expected = build(card.network).state_dict()
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is not part of the network" for name in tensors if name not in expected]
    for name, tensor in tensors.items():
        if name in expected and tensor.shape != expected[name].shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        elif tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            faults.append(f"{name} holds NaN or infinite values")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise InputError(
            f"weights {source} do not fit the network on their card ({card.network.kind}): "
            f"{'; '.join(faults[:3])}{more}; give weights and card of one training"
        )
