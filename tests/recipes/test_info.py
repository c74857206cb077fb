"""`info`: aligned lines, from headers only."""

from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import write_mrc
from cryoembed.recipes.info import info


def test_lines_are_aligned_words_and_values(tmp_path: Path) -> None:
    write_mrc(tmp_path / "TS_01.mrc", np.zeros((3, 4, 5), np.float32), 10.0)
    lines = info(tmp_path / "TS_01.mrc").splitlines()
    assert lines[0].split() == ["file", str(tmp_path / "TS_01.mrc")]
    assert lines[1].split(maxsplit=1) == ["kind", "tomogram (MRC)"]
    starts = {line.index(line.split("  ", 1)[1].lstrip()) for line in lines}
    assert len(starts) == 1


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        info(tmp_path / "none.mrc")
