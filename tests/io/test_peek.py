"""`describe`: the kind and the facts of each file, from its header only."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cryoembed.errors import InputError
from cryoembed.io import describe, write_mrc, write_particles
from tests.io.test_relion import INFOS, some


def test_tomogram(tmp_path: Path) -> None:
    write_mrc(tmp_path / "TS_01.mrc", np.zeros((3, 4, 5), np.int8), 13.48)
    described = describe(tmp_path / "TS_01.mrc")
    assert described["kind"] == "tomogram (MRC)"
    assert described["name"] == "TS_01"
    assert described["shape"] == "3 x 4 x 5 voxels (z, y, x)"
    assert described["voxel size"] == "13.48 A"
    assert described["data"] == "int8, 60 bytes"
    assert "damaged" not in described


def test_only_the_header_of_a_tomogram_is_needed(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((3, 4, 5), np.float32), 10.0)
    (tmp_path / "a.mrc").write_bytes((tmp_path / "a.mrc").read_bytes()[:1030])
    assert describe(tmp_path / "a.mrc")["damaged"] == "1030 of 1264 bytes: cut short"


def test_zero_voxel_size_names_the_option(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((3, 4, 5), np.float32), 0.0)
    assert describe(tmp_path / "a.mrc")["voxel size"] == "0 A; pass --voxel-size"


def test_star_files_by_generation(tmp_path: Path) -> None:
    for chosen, kind in (("relion5", "RELION 5"), ("relion4", "RELION 4"), ("warp", "RELION 3 / Warp")):
        write_particles(tmp_path / "a.star", some(), tomograms=INFOS, format=chosen)
        described = describe(tmp_path / "a.star")
        assert kind in described["kind"]
        assert described["block particles"].startswith("5 rows: rln")


def test_tables(tmp_path: Path) -> None:
    write_particles(tmp_path / "a.csv", some())
    assert describe(tmp_path / "a.csv")["lines"] == "6"
    assert describe(tmp_path / "a.csv")["first line"].startswith("tomogram,z,y,x")
    write_particles(tmp_path / "a.parquet", some())
    assert describe(tmp_path / "a.parquet")["kind"] == "table (parquet)"


def test_weights_show_their_card(tmp_path: Path) -> None:
    tensors = {"a": np.zeros((2, 3), np.float16), "b": np.zeros(4, np.float16)}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"card": json.dumps({"name": "voxel_small", "steps": 3})})
    described = describe(tmp_path / "w.safetensors")
    assert described["parameters"] == "10 in 2 tensors, F16"
    assert described["card.name"] == "voxel_small"


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100, b"\x10" + b"\x00" * 7 + b"no json at all!!"])
def test_broken_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(InputError):
        describe(tmp_path / "w.safetensors")


def test_a_store_shows_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"schema": 1, "key": {"model": "ab12"}, "rows": list(range(99))})
    )
    described = describe(tmp_path)
    assert described["kind"] == "embedding store"
    assert (described["key.model"], described["rows"]) == ("ab12", "99 entries")


def test_a_pickle_is_named_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.tloc").write_bytes(b"\x80\x04cos\nsystem\n")
    assert describe(tmp_path / "a.tloc")["kind"] == "Python pickle"


def test_what_is_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        describe(tmp_path / "none")
    with pytest.raises(InputError, match=r"without manifest\.json"):
        describe(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + b"\x00" * 2000)
    with pytest.raises(InputError, match="is a PNG image"):
        describe(tmp_path / "a.png")


def test_describing_imports_nothing_heavy(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((3, 4, 5), np.float32), 10.0)
    write_particles(tmp_path / "a.star", some(), tomograms=INFOS)
    program = (
        "import sys; from pathlib import Path; from cryoembed.recipes.info import info; "
        f"info(Path({str(tmp_path / 'a.mrc')!r})); info(Path({str(tmp_path / 'a.star')!r})); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'starfile', 'mrcfile', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
