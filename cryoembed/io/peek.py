"""What is this file? Told from its first bytes, without numpy, pandas or torch, so that the answer is instant."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from cryoembed.errors import InputError
from cryoembed.io.mrc_header import MrcHeader, parse_header
from cryoembed.io.peek_picks import LOCATIONS, describe_lines, describe_star, in_bytes
from cryoembed.io.sniff import (
    HEAD_BYTES,
    VOLUME_SUFFIXES,
    compression,
    foreign_kind,
    is_pickle,
    read_bytes,
    read_text,
    suffix_of,
    tomogram_name,
)

_HEADER_LIMIT = 1 << 26
_TYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "f2": "float16", "f4": "float32"}


def describe(path: Path | str) -> dict[str, str]:
    """Describe a tomogram, picks, an embedding store, weights or an output folder from its header.

    Returns
    -------
    dict
        Words to values, in reading order, beginning with ``kind``.

    Raises
    ------
    InputError
        If there is nothing at ``path``, or it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    head = read_bytes(path, HEAD_BYTES)
    suffix = suffix_of(path)
    if is_pickle(head):
        return {"kind": "Python pickle", "note": "never opened: it can run code; export the picks as .coords or .star"}
    if suffix == ".safetensors":
        return _weights(path)
    if head.startswith(b"PAR1"):
        return {"kind": "table (parquet)", "size": in_bytes(path.stat().st_size)}
    if suffix == ".star" or suffix == ".cbox":
        return describe_star(path)
    if suffix in (".csv", ".tsv", ".txt", ".coords"):
        return describe_lines(path)
    if suffix in VOLUME_SUFFIXES or foreign_kind(head) is None:
        return _tomogram(path, parse_header(head, path))
    raise InputError(f"{path} is {foreign_kind(head)}; expected a tomogram, picks, a store or weights")


def _tomogram(path: Path, header: MrcHeader) -> dict[str, str]:
    z, y, x = header.shape_zyx
    sizes = header.voxel_size_zyx
    kind = "image" if header.is_image else "stack of volumes" if header.is_volume_stack else "tomogram"
    same = max(sizes) - min(sizes) <= 1e-3 * max(sizes)
    voxel = f"{sizes[2]:.6g} A" if same else " x ".join(f"{size:.6g}" for size in sizes) + " A (z, y, x)"
    if not all(size > 0 for size in sizes) and not header.is_image:
        voxel += "; pass --voxel-size"
    order = ", big-endian" if header.dtype[0] == ">" else ""
    described = {
        "kind": f"{kind} (MRC)",
        "name": tomogram_name(path),
        "shape": f"{z} x {y} x {x} voxels (z, y, x)",
        "voxel size": voxel,
        "extent": " x ".join(f"{n * size / 10:.1f}" for n, size in zip((z, y, x), sizes, strict=True))
        + " nm (z, y, x)",
        "data": f"{_TYPES[header.dtype[1:]]}{order}, {in_bytes(header.data_bytes)}",
    }
    if header.axes_crs != (1, 2, 3):
        described["axes in file"] = " ".join("?xyz"[axis] for axis in header.axes_crs) + " (column, row, section)"
    if any(header.start_crs):
        described["header start"] = " ".join(map(str, header.start_crs)) + " (not used)"
    if any(header.origin_xyz):
        described["header origin"] = " ".join(f"{value:g}" for value in header.origin_xyz) + " A (x, y, z; not used)"
    if header.extended_bytes:
        described["extended header"] = f"{header.extended_type or 'untyped'}, {in_bytes(header.extended_bytes)}"
    if header.labels:
        described["labels"] = " | ".join(header.labels)
    if packed := compression(path):
        described["compressed"] = f"{packed[1:]}; it is unpacked into memory when read"
    elif path.stat().st_size < header.data_offset + header.data_bytes:
        described["damaged"] = f"{path.stat().st_size} of {header.data_offset + header.data_bytes} bytes: cut short"
    return described


def _weights(path: Path) -> dict[str, str]:
    """The JSON header of a safetensors file: an 8-byte length, then names, types, shapes and our model card."""
    with path.open("rb") as stream:
        raw = stream.read(8)
        length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
        if not 2 <= length <= min(_HEADER_LIMIT, path.stat().st_size - 8):
            raise InputError(f"{path} has no safetensors header: not weights, or cut short")
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
        except (ValueError, UnicodeDecodeError):
            raise InputError(f"{path}: its safetensors header is not JSON; the file is damaged") from None
    card = header.pop("__metadata__", None) or {}
    parameters = sum(_product(tensor.get("shape", [])) for tensor in header.values())
    types = sorted({str(tensor.get("dtype")) for tensor in header.values()})
    return {
        "kind": "weights (safetensors)",
        "parameters": f"{parameters:,} in {len(header)} tensors, {', '.join(types)}",
        "size": in_bytes(path.stat().st_size),
    } | _flat(_unpacked(card))


def _folder(path: Path) -> dict[str, str]:
    for name, kind in (("manifest.json", "embedding store"), ("provenance.json", "output folder")):
        if (path / name).is_file():
            return {"kind": kind} | _flat(_json(path / name))
    if (path / LOCATIONS).is_file():
        lines = read_text(path / LOCATIONS).splitlines()
        names = sorted({line.split()[0] for line in lines if line.strip()})
        described = {"kind": "simulated tomogram with truth (SHREC 2021 layout)", "particles": str(len(lines))}
        described["classes"] = " ".join(names)
        volume = path / "reconstruction.mrc"
        if not volume.is_file():
            return described
        return described | _tomogram(volume, parse_header(read_bytes(volume, HEAD_BYTES), volume)) | described
    raise InputError(f"{path} is a folder without manifest.json: no embedding store; name a file in it")


def _json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); make the folder again") from None
    return loaded if isinstance(loaded, dict) else {"content": loaded}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names; a long list or mapping as its length."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and 0 < len(value) <= 12:
            flat |= _flat(value, f"{name}.")
        elif isinstance(value, (dict, list)) and len(value) > 12:
            flat[name] = f"{len(value)} entries"
        else:
            flat[name] = str(value)[:200]
    return flat


def _unpacked(card: dict[str, Any]) -> dict[str, Any]:
    """Metadata of safetensors are strings; a model card among them is JSON."""
    unpacked: dict[str, Any] = {}
    for key, value in card.items():
        try:
            unpacked[key] = json.loads(value)
        except (ValueError, TypeError):
            unpacked[key] = value
    return unpacked


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
