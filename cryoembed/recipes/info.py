"""``cryoembed info FILE``: what is this, in a few aligned lines."""

from __future__ import annotations

from pathlib import Path

from cryoembed.io.peek import describe


def info(file: Path) -> str:
    """Describe a tomogram, picks, a store or weights from its header.

    Raises
    ------
    InputError
        If the file is missing or of no known kind.
    """
    described = {"file": str(file)} | describe(file)
    width = max(map(len, described))
    return "\n".join(f"{word:<{width}}  {value}" for word, value in described.items())
