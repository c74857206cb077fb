"""What a text file of picks is: its blocks and columns, or its first line; the standard library only."""

from __future__ import annotations

from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.sniff import read_text, suffix_of

LOCATIONS = "particle_locations.txt"
_TEXT_LIMIT = 1 << 22  # 4 MB are counted; of more only the beginning


def describe_star(path: Path) -> dict[str, str]:
    """Kind, blocks, columns and row counts of a STAR file."""
    text = read_text(path, _TEXT_LIMIT)
    described = {"kind": "STAR file"}
    block, columns, rows = None, list[str](), 0
    blocks: list[tuple[str, list[str], int]] = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("data_"):
            block, columns, rows = line[5:], [], 0
            blocks.append((block, columns, rows))
        elif block is None or not line or line.startswith(("#", "loop_")):
            continue
        elif line.startswith("_"):
            columns.append(line.split()[0][1:])
        else:
            rows += 1
            blocks[-1] = (block, columns, rows)
    if not blocks:
        raise InputError(f"{path} has no data_ block: not a STAR file")
    known = {column for _, found, _ in blocks for column in found}
    described["kind"] = _star_kind(known)
    cut = "at least " if len(text) >= _TEXT_LIMIT - 1 else ""
    for name, found, count in blocks[:8]:
        described[f"block {name or '(unnamed)'}"] = f"{cut}{count or 1} rows: {' '.join(found)}"
    return described


def _star_kind(columns: set[str]) -> str:
    if "rlnTomoParticlesFile" in columns:
        return "optimisation set (RELION 5)"
    if "rlnCenteredCoordinateXAngst" in columns:
        return "picks (RELION 5 STAR, A from the centre)"
    if "rlnTomoSizeX" in columns:
        return "tomogram list (RELION 5 tomograms.star)"
    if "CoordinateX" in columns:
        return "picks (crYOLO / TomoTwin cbox, voxels)"
    if {"rlnCoordinateX", "rlnCoordinateZ"} <= columns:
        return f"picks ({'RELION 4' if 'rlnTomoName' in columns else 'RELION 3 / Warp'} STAR, pixels)"
    return "STAR file without particle positions"


def describe_lines(path: Path) -> dict[str, str]:
    """Number of lines and the first of them."""
    lines = [line for line in read_text(path, _TEXT_LIMIT).splitlines() if line.strip()]
    kind = {".coords": "picks (coords, voxels)"}.get(suffix_of(path), "table")
    if path.name == LOCATIONS:
        kind = "particle list (SHREC 2021, voxels)"
    return {
        "kind": kind,
        "lines": str(len(lines)),
        "first line": lines[0][:200] if lines else "",
        "size": in_bytes(path.stat().st_size),
    }


def in_bytes(count: float) -> str:
    """A size in words: ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
