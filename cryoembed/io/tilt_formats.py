"""Tilt series' side files, format by format: plain angles, PyTom's .meta, SerialEM's .mdoc, Warp's .xml."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from cryoembed.errors import InputError
from cryoembed.io.sniff import foreign_kind, read_bytes, read_text
from cryoembed.io.tilt_table import TiltTable, number, rows_of_numbers

_WARP = ("Angles", "Dose", "UseTilt", "AxisAngle", "AxisOffsetX", "AxisOffsetY")


def read_angles(path: Path) -> TiltTable:
    """``.tlt`` and ``.rawtlt``: an angle per line."""
    rows = rows_of_numbers(path, 1, "one angle in degrees per line")
    return TiltTable(rows[:, 0])


def read_meta(path: Path) -> TiltTable:
    """PyTom's ``.meta``, as SHREC 2021 has it."""
    lines = [(at, line.split()) for at, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    # a column per line of the header: "#_TiltAngle (deg)"
    names = [cells[0][2:] for _, cells in lines if cells[0].startswith("#_")]
    if "TiltAngle" not in names:
        raise InputError(f"{path} has no header that names TiltAngle; expected PyTom's .meta file")
    rows = [(at, cells) for at, cells in lines if not cells[0].startswith("#")]
    for at, cells in rows:
        if len(cells) < len(names):
            raise InputError(f"{path} line {at}: {len(cells)} columns; its header names {len(names)}")
    return TiltTable(np.array([number(path, at, cells[names.index("TiltAngle")]) for at, cells in rows]))


def read_mdoc(path: Path) -> TiltTable:
    """Sections ``[ZValue = i]``, put in the order of i; without PriorRecordDose nothing is known of the order of exposures."""
    sections: dict[int, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in read_text(path).splitlines():
        if head := re.match(r"\s*\[\s*ZValue\s*=\s*(\d+)\s*\]", line):
            current = sections.setdefault(int(head[1]), {})
        elif "=" in line and not line.lstrip().startswith("["):
            key, value = line.split("=", 1)
            current[key.strip()] = value.strip()
    if not sections:
        raise InputError(f"{path} has no [ZValue = ...] sections; expected SerialEM's .mdoc of a tilt series")
    ordered = [sections[index] for index in sorted(sections)]
    lost = next((index for index, section in enumerate(ordered) if "TiltAngle" not in section), None)
    if lost is not None:
        raise InputError(f"{path}: section {lost} has no TiltAngle; expected SerialEM's .mdoc of a tilt series")
    tilts = np.array([number(path, None, section["TiltAngle"]) for section in ordered])
    if any("PriorRecordDose" not in section for section in ordered):
        return TiltTable(tilts)
    return TiltTable(tilts, doses=np.array([number(path, None, section["PriorRecordDose"]) for section in ordered]))


def read_warp(path: Path) -> TiltTable:
    """Warp's (and M's) ``<TiltSeries>``; what is not there stays None."""
    content = read_bytes(path)
    if (kind := foreign_kind(content)) and kind != "an XML document":
        raise InputError(f"{path} is {kind}; expected Warp's .xml of a tilt series")
    if b"<!ENTITY" in content.replace(b"\x00", b""):  # Warp writes UTF-8 or UTF-16
        raise InputError(f"{path} declares XML entities, which no Warp file does; it is not read")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is damaged XML ({error}); export it from Warp again") from None
    if root.tag != "TiltSeries" or root.find("Angles") is None:
        raise InputError(f"{path} holds <{root.tag}>; expected Warp's <TiltSeries> with <Angles>")
    cells = {name: (root.findtext(name) or "").split() for name in _WARP}
    count = len(cells["Angles"])
    for name, values in cells.items():
        if values and len(values) != count:
            raise InputError(f"{path}: {len(values)} values of {name} for {count} Angles; expected as many")
    columns = {
        name: np.array([number(path, None, value) for value in values])
        for name, values in cells.items()
        if values and name != "UseTilt"
    }
    x, y = columns.get("AxisOffsetX"), columns.get("AxisOffsetY")
    used = [value.lower() for value in cells["UseTilt"]]
    if not set(used) <= {"true", "false"}:
        raise InputError(f"{path}: UseTilt holds {sorted(set(used) - {'true', 'false'})[0]!r}; expected True or False")
    return TiltTable(
        columns.get("Angles", np.empty(0)),
        doses=columns.get("Dose"),
        axis_angles_deg=columns.get("AxisAngle"),
        axis_offsets=None if x is None or y is None else np.stack([y, x], axis=1),
        used=np.array(used) == "true" if used else None,
    )
