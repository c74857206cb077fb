"""What a file really is, told from its first bytes, and what a tomogram is called, told from a path.

Only the standard library: `peek` and ``cryoembed info`` rest on it and must answer at once.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from pathlib import Path

from cryoembed.errors import InputError

HEAD_BYTES = 4096
COMPRESSIONS = (".gz", ".bz2")
VOLUME_SUFFIXES = (".mrc", ".mrcs", ".rec", ".map", ".st", ".ccp4")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".tloc", ".tmap", ".temb", ".tumap")
_NAME_SUFFIXES = (*COMPRESSIONS, *VOLUME_SUFFIXES, ".tomostar", ".hdf", ".tif", ".tiff", ".zarr")

_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive (torch checkpoints are zip archives)"),
    (b"PAR1", "a parquet table"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"V0.6", "an IMOD model"),
    (b"IMODV1.2", "an IMOD model"),
    (b"<?xml", "an XML document"),
)


def foreign_kind(head: bytes) -> str | None:
    """Name the kind of file that a magic number gives away, or None."""
    if is_pickle(head):
        return "a Python pickle"
    return next((kind for magic, kind in _FOREIGN if head.startswith(magic)), None)


def is_pickle(head: bytes) -> bool:
    """Whether the bytes start a pickle of protocol 2 or later (pandas, torch and TomoTwin files)."""
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5


def refuse_pickle(path: Path, head: bytes) -> None:
    """Raise `InputError` for a pickle, by its bytes or by its suffix: opening one can run anyone's code."""
    if is_pickle(head) or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise InputError(
            f"{path} is a Python pickle, which can run code when it is opened, so it is never read; "
            "export the picks as .coords, .cbox, .star or .csv from the program that wrote it"
        )


def compression(path: Path) -> str | None:
    """``".gz"`` or ``".bz2"`` if the bytes say so (whatever the name says), else None."""
    try:
        with path.open("rb") as stream:
            start = stream.read(3)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, expected a file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if start[:2] == b"\x1f\x8b":
        return ".gz"
    return ".bz2" if start == b"BZh" else None


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """All bytes of a file, or the first ``limit``; gzip and bzip2 are undone.

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable or empty, or its compressed stream is broken.
    """
    path = Path(path)
    packed = compression(path)
    try:
        with gzip.open(path) if packed == ".gz" else bz2.open(path) if packed else path.open("rb") as stream:
            content = stream.read() if limit is None else stream.read(limit)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path}: cannot be decompressed ({error}); the file is damaged or cut short") from None
    if not content:
        raise InputError(f"{path} is empty; it holds no data at all")
    return content


def read_text(path: Path, limit: int | None = None) -> str:
    """Text of a (compressed) UTF-8 file without its byte-order mark; `InputError` for anything that is not text."""
    content = read_bytes(path, limit)
    refuse_pickle(path, content)
    if (kind := foreign_kind(content)) or b"\x00" in content[:HEAD_BYTES]:
        raise InputError(f"{path} is {kind or 'a binary file'}, not a text file of picks")
    if limit is not None and len(content) == limit:
        content = content[: content.rfind(b"\n") + 1] or content
    return content.decode("utf-8-sig", errors="replace")


def suffix_of(path: Path) -> str:
    """Lower-case suffix below any compression: ``a.star.gz`` gives ``.star``."""
    name = path.name.lower()
    for packed in COMPRESSIONS:
        name = name.removesuffix(packed)
    return Path(name).suffix


def tomogram_name(path: str | Path) -> str:
    """What a tomogram is called: the last part of the path without the suffixes of volumes and ``.tomostar``.

    ``/data/TS_01.mrc.gz``, ``TS_01.mrc.tomostar`` and ``rec/TS_01.st:mrc`` are all ``TS_01``; other dots stay. In
    SHREC's layout all files are called alike, so ``model_3/reconstruction.mrc`` is ``model_3``.
    """
    *folders, name = re.split(r"[/\\]", str(path).strip().rstrip("/\\"))
    if folders and re.fullmatch(r"reconstruction\.mrc(\.gz|\.bz2)?", name) and re.fullmatch(r"model_\d+", folders[-1]):
        return folders[-1]
    name = re.sub(r":(mrcs?|st)$", "", name)
    while (suffix := Path(name).suffix.lower()) in _NAME_SUFFIXES and len(name) > len(suffix):
        name = name[: -len(suffix)]
    return name
