"""STAR files as blocks of columns: reading with the starfile library, made safe for what real files hold."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing
from cryoembed.io.sniff import read_text

# names that may look like numbers ("00254", "1006") and must stay what they are
TEXT_COLUMNS = (
    "rlnTomoName",
    "rlnMicrographName",
    "rlnTomoParticleName",
    "rlnOpticsGroupName",
    "rlnTomoParticlesFile",
    "rlnTomoTomogramsFile",
    "cryoembedLabel",
    "cryoembedParticleId",
)


def read_blocks(path: Path) -> dict[str, pd.DataFrame]:
    """Every block of a (compressed) STAR file as a table; a block without ``loop_`` has one row.

    Raises
    ------
    InputError
        If the file is not text, holds no ``data_`` block, or a row has another number of cells than its header.
    """
    import starfile

    text = read_text(path)
    if not any(line.startswith("data_") for line in text.splitlines()):
        raise InputError(f"{path} has no data_ block: not a STAR file")
    # the library wants a file, and takes "data_ " with a blank for another name
    lines = (line.rstrip() for line in text.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "blocks.star"
        plain.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            blocks = starfile.read(plain, always_dict=True, parse_as_string=list(TEXT_COLUMNS))
        except (ValueError, IndexError, KeyError, TypeError) as error:  # pandas' parser errors are ValueErrors
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{path}: a STAR block cannot be read ({reason}); the file is damaged or empty") from None
    return {name: _as_table(block) for name, block in blocks.items() if block is not None}


def write_blocks(path: Path, blocks: Mapping[str, pd.DataFrame]) -> None:
    """Write blocks as ``data_NAME`` loops, atomically; floats with six decimals, as RELION does."""
    import starfile

    with replacing(path) as temporary:
        text = starfile.to_string(dict(blocks), float_format="%.6f")
        # starfile signs with version and date; the same picks must leave the same bytes
        body = [line for line in text.splitlines() if not line.startswith("# Created by")]
        temporary.write_text("# cryoembed\n" + "\n".join(body).strip("\n") + "\n", encoding="utf-8")


def _as_table(block: Any) -> pd.DataFrame:
    return block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
