"""simulate refuses bad input from the command line in one line that says what to do, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cryoembed.io.mrc import write_mrc
from tests.recipes.conftest import Run
from tests.simulate.test_dataset import SMALL

Refused = Callable[..., str]
BIG = {"name": "whale", "family": "blob", "mass_kda": 60000, "seed": 1}


@pytest.fixture
def refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run a small data set with some settings changed (None: left out); returns the one line of the refusal."""
    monkeypatch.setenv("CRYOEMBED_CACHE", str(tmp_path / "cache"))

    def check(**changes: Any) -> str:
        settings = {**SMALL, "structure_folder": str(tmp_path), **changes}
        settings = {key: value for key, value in settings.items() if value is not None}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        done = run("simulate", config, "--out", tmp_path / "set")
        assert done.exit_code == 2, (done.output, done.exception)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.output
        assert not (tmp_path / "set").exists(), sorted((tmp_path / "set").rglob("*"))
        return lines[0]

    return check


def of_structure(**spec: object) -> Mapping[str, object]:
    return {"structures": [spec], "phantoms": None}


def test_a_structure_without_atoms(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "empty.pdb").write_text("HEADER    NOTHING HERE\nEND\n")
    said = refused(**of_structure(path="empty.pdb"))
    assert "empty.pdb: no atoms; expected a PDB or mmCIF file" in said


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (0.0, "no positive mass, all voxels are 0"),
        (
            -1.0,
            "its particle is dark, its strongest values lie on the other side of the background; set contrast: dark",
        ),
        (np.nan, "no numbers (NaN or infinite); mend it"),
    ],
)
def test_a_map_without_a_density(fill: float, said: str, tmp_path: Path, refused: Refused) -> None:
    volume = np.zeros((16, 16, 16), dtype=np.float32)
    volume[5:11, 5:11, 5:11] = fill
    write_mrc(tmp_path / "map.mrc", volume, 10.0)
    line = refused(**of_structure(path="map.mrc", mass_kda=100))
    assert "map" in line
    assert said in line


def test_a_map_without_its_mass(tmp_path: Path, refused: Refused) -> None:
    write_mrc(tmp_path / "map.mrc", np.ones((8, 8, 8), dtype=np.float32), 10.0)
    assert "give mass_kda" in refused(**of_structure(path="map.mrc"))


def test_a_pdb_id_where_no_network_is(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOEMBED_PDB_URL", "http://127.0.0.1:9")
    line = refused(**of_structure(pdb="4ug0"))
    assert "can't reach 127.0.0.1:9" in line
    assert "download 4ug0.cif.gz elsewhere and give path: instead of pdb:" in line


def test_a_structure_file_that_is_not_there(refused: Refused) -> None:
    assert "gone.pdb: no such file; mend the path or set structure_folder" in refused(**of_structure(path="gone.pdb"))


def test_crowding_beyond_reach_says_what_was_reached(refused: Refused) -> None:
    line = refused(counts=None, crowding=0.9)
    assert "model_0: crowding 0.900 can't be reached" in line
    assert "allow_shortfall: true" in line


def test_counts_beyond_reach_say_what_found_no_place(refused: Refused) -> None:
    line = refused(counts=500)
    assert "model_0" in line
    assert "allow_shortfall: true" in line


def test_a_volume_smaller_than_a_particle(refused: Refused) -> None:
    line = refused(phantoms=[BIG], counts=1)
    assert "is smaller than the particle whale" in line
    assert "make the volume larger or leave the species out" in line


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("two.tlt", "-3\n3\n", "at least 3 different angles"),
        ("same.tlt", "-3\n0\n0\n3\n", "at least 3 different angles"),
        ("steep.rawtlt", "-120\n0\n60\n", "expected degrees between -90 and 90"),
        ("empty.tlt", "", "it holds no data at all"),
        ("words.tlt", "left\nmiddle\nright\n", "words.tlt"),
        ("angles.txt", "-3\n0\n3\n", "tilts are read from .tlt"),
        ("align.xf", "1 0 0 1 0 0\n" * 3, "alignments in .xf are read by read_xf"),
        ("made.meta", "-3\n0\n3\n", "expected PyTom's .meta file"),
    ],
)
def test_tilt_files_of_the_wrong_length_or_kind(
    name: str, text: str, said: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / name).write_text(text)
    line = refused(imaging={"tilt_file": name})
    assert name in line
    assert said in line


def test_files_of_the_imaging_that_are_not_there(refused: Refused) -> None:
    assert "no.tlt" in refused(imaging={"tilt_file": "no.tlt"})
    assert "no.mrc" in refused(imaging={"spectrum_file": "no.mrc"})


def test_a_tilt_file_that_one_model_lacks_is_said_before_the_first_is_made(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "model_0.tlt").write_text("-3\n0\n3\n")
    assert "model_1.tlt" in refused(imaging={"tilt_file": "model_{model}.tlt"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"imaging": {"defocus": 3}}, "imaging.defocus"),
        ({"vesicls": [1, 2]}, "vesicles"),
        ({"membranes": [{"kind": "flat", "radii": [1, 2]}]}, "radi"),
        ({"structures": [{"path": "x.pdb", "mass": 3}]}, "mass"),
    ],
)
def test_an_unknown_key_at_any_depth(changes: dict[str, Any], said: str, refused: Refused) -> None:
    line = refused(**changes)
    assert "unknown" in line
    assert said in line
