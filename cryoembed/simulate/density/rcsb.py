"""Structures by their PDB id: downloaded once, checked, and kept in the cache folder."""

from __future__ import annotations

import gzip
import http.client
import io
import logging
import os
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.simulate.density.cache import cache_folder
from cryoembed.simulate.density.library import short_id

logger = logging.getLogger(__name__)

BASE_URL = "https://files.rcsb.org/download"
MIRROR = "CRYOEMBED_PDB_URL"  # environment variable: a mirror's folder of ID.cif.gz files
_LARGEST = 500e6  # bytes; the largest entries have about 100 MB
_CHUNK = 1 << 16
_LARGEST_TEXT = 2e9  # bytes after decompression; the largest entries have about 700 MB
_STEP = 1 << 22


def check_pdb_id(pdb_id: str) -> str:
    """The id in lower case and its shortest form (`library.short_id`); `ValueError` if it is none."""
    text = short_id(pdb_id)
    if not re.fullmatch(r"[1-9][a-z0-9]{3}|pdb_[0-9a-z]{8}", text):
        raise ValueError(
            f"pdb {pdb_id!r}: expected a PDB id of four characters such as 4ug0 (quote it: 1e10 is a number)"
        )
    return text


def fetch_pdb(pdb_id: str, *, folder: Path | None = None, timeout: float = 30.0, patience: float = 600.0) -> Path:
    """The path of an entry's mmCIF file, downloaded from RCSB (or ``$CRYOEMBED_PDB_URL``) unless it is in the cache.

    Parameters
    ----------
    folder
        Where entries are kept; None for ``pdb`` in the cache folder.
    timeout
        Seconds without an answer before giving up.
    patience
        Seconds for the whole download.

    Raises
    ------
    InputError
        If there is no such entry, the server can't be reached or is too slow, or the file is damaged. Nothing is kept.
    """
    name = f"{check_pdb_id(pdb_id)}.cif.gz"
    target = (cache_folder() / "pdb" if folder is None else folder) / name
    if target.is_file():
        try:
            for _ in _unpacked(target.read_bytes()):
                pass
            return target
        except (OSError, EOFError, zlib.error) as error:
            logger.warning("%s is damaged (%s); fetched anew", target, error)
    url = f"{os.environ.get(MIRROR) or BASE_URL}/{name}"
    remedy = f"download {name} elsewhere and give path: instead of pdb:"
    logger.info("downloading %s", url)
    try:
        content = _download(url, timeout, patience)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise InputError(f"structure pdb {pdb_id}: {url} does not exist; check the id (or {remedy})") from None
        raise InputError(f"structure pdb {pdb_id}: {url} answered {error.code} {error.reason}; {remedy}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        host = url.split("/")[2] if "//" in url else url
        reason = getattr(error, "reason", None) or error
        raise InputError(f"structure pdb {pdb_id}: can't reach {host} ({reason}); {remedy}") from None
    _check(content, pdb_id, url, remedy)
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return target


def _download(url: str, timeout: float, patience: float) -> bytes:
    deadline = time.monotonic() + patience
    request = urllib.request.Request(url, headers={"User-Agent": "cryoembed"})
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{MIRROR} must start with http:// or https://")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        parts, size = [], 0
        while part := answer.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > _LARGEST:
                raise OSError(f"more than {_LARGEST / 1e6:.0f} MB")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {patience:.0f} s")
        expected = answer.headers.get("Content-Length")
    if expected is not None and size != int(expected):
        raise OSError(f"the connection broke after {size} of {expected} bytes")
    return b"".join(parts)


def _check(content: bytes, pdb_id: str, url: str, remedy: str) -> None:
    """Keep nothing that isn't a whole mmCIF file with atoms of this entry."""
    import gemmi

    try:
        text = b"".join(_unpacked(content))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"structure pdb {pdb_id}: what {url} sent is damaged ({error}); try again, or {remedy}"
        ) from None
    try:
        structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text.decode()).sole_block())
    except (RuntimeError, ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"structure pdb {pdb_id}: what {url} sent is no mmCIF file ({reason}); {remedy}") from None
    if not any(True for model in structure for _ in model.all()):
        raise InputError(f"structure pdb {pdb_id}: what {url} sent holds no atoms; {remedy}")


def _unpacked(content: bytes) -> Iterator[bytes]:
    """The text in steps: a file of zeros packs a thousandfold."""
    size = 0
    with gzip.open(io.BytesIO(content)) as file:
        while part := file.read(_STEP):
            size += len(part)
            if size > _LARGEST_TEXT:
                raise OSError(f"more than {_LARGEST_TEXT / 1e6:.0f} MB unpacked")
            yield part
