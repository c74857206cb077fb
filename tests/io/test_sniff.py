"""Names and kinds told from paths and first bytes."""

from pathlib import Path

import pytest

from cryoembed.io.sniff import foreign_kind, suffix_of, tomogram_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("TS_01.mrc", "TS_01"),
        ("/data/TS_01.rec.gz", "TS_01"),
        ("C:\\data\\TS_01.MRC", "TS_01"),
        ("TS_01.mrc.tomostar", "TS_01"),
        ("rec/TS_01.st:mrc", "TS_01"),
        ("tomo_15.00Apx.mrc", "tomo_15.00Apx"),
        ("tomo_15.00Apx", "tomo_15.00Apx"),
        (".mrc", ".mrc"),
        ("folder/", "folder"),
        ("", ""),
    ],
)
def test_tomogram_name_is_the_stem_without_volume_suffixes(path: str, name: str) -> None:
    assert tomogram_name(path) == name


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.STAR.gz", ".star"), ("a.b.csv", ".csv"), ("a", ""), ("a.mrc.bz2", ".mrc")]
)
def test_suffix_looks_below_compression(name: str, suffix: str) -> None:
    assert suffix_of(Path(name)) == suffix


def test_a_tomogram_header_is_nothing_foreign() -> None:
    assert foreign_kind(bytes(1024)) is None
    assert foreign_kind(b"\x80\x05rest") == "a Python pickle"
