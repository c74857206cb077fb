"""Going on with a data set: what is complete stays, what changed its split says so, what does not fit is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cryoembed.errors import InputError
from cryoembed.simulate import digest
from cryoembed.simulate.digest import settings_digest
from cryoembed.simulate.folders import simulate_dataset
from tests.simulate.test_dataset import config


def record(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


def test_a_kept_model_is_told_its_new_split(tmp_path, caplog):
    simulate_dataset(config(models=2), tmp_path)
    before = (tmp_path / "model_1/reconstruction.mrc").stat().st_mtime_ns
    simulate_dataset(config(models=2, test=1), tmp_path)
    assert [record(tmp_path / f"model_{index}")["split"] for index in (0, 1)] == ["train", "test"]
    assert "model_1 was for train; it is for test now" in caplog.text
    simulate_dataset(config(models=2), tmp_path)
    assert record(tmp_path / "model_1")["split"] == "train"
    assert (tmp_path / "model_1/reconstruction.mrc").stat().st_mtime_ns == before


def test_splits_stay_as_they_were_where_another_model_is_refused(tmp_path):
    simulate_dataset(config(models=2), tmp_path)
    (tmp_path / "model_1/model.json").write_text(json.dumps({"settings": "other"}))
    with pytest.raises(InputError, match="model_1 was made with other settings"):
        simulate_dataset(config(models=2, test=2), tmp_path)
    assert record(tmp_path / "model_0")["split"] == "train"


def test_a_model_that_lacks_something_is_kept_only_where_that_is_allowed(tmp_path):
    crowded = {"models": 1, "counts": None, "crowding": 0.8}
    simulate_dataset(config(**crowded, allow_shortfall=True), tmp_path)
    with pytest.raises(InputError, match=r"model_0: crowding 0\.800 can't be reached: .* allow_shortfall: true"):
        simulate_dataset(config(**crowded), tmp_path)
    told = record(tmp_path / "model_0") | {"crowding": 0.8, "missed": {"big": 2}}
    (tmp_path / "model_0/model.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="no place was found for 2 big"):
        simulate_dataset(config(**crowded), tmp_path)
    assert simulate_dataset(config(**crowded, allow_shortfall=True), tmp_path).kept == ("model_0",)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"settings"', "\udcff"])
def test_a_broken_record_is_called_broken(tmp_path, content):
    (tmp_path / "model_0").mkdir()
    (tmp_path / "model_0/model.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"model\.json is broken"):
        simulate_dataset(config(models=1), tmp_path)


@pytest.mark.parametrize("name", ["tilt_file", "spectrum_file"])
def test_a_files_content_counts_and_its_place_does_not(tmp_path, name):
    def with_file(path):
        return settings_digest(config(imaging={name: str(path)}, structure_folder=tmp_path))

    (tmp_path / "elsewhere").mkdir()
    for path in ("a.tlt", "elsewhere/b.tlt"):
        (tmp_path / path).write_text("-20\n0\n20\n")
    assert with_file("a.tlt") == with_file("elsewhere/b.tlt") == with_file(tmp_path / "a.tlt")
    assert with_file("a.tlt") != settings_digest(config())
    before = with_file("a.tlt")
    (tmp_path / "a.tlt").write_text("-20\n0\n21\n")
    os.utime(tmp_path / "a.tlt", ns=(1, 1))
    assert with_file("a.tlt") != before
    with_file("a.tlt")
    assert digest._hashed.cache_info().hits > 0


def test_tilts_count_however_they_are_asked_for():
    def digest_of(**imaging):
        return settings_digest(config(imaging=imaging))

    asked = digest_of(tilts_deg=(-40, 0, 40))
    assert asked == digest_of(tilts_deg=(40, -40, 0)) == digest_of(tilts_deg=(-40, 0, 40), tilt_step_deg=7)
    assert asked == digest_of(tilts_deg=(-40.0, -0.0, 40.0))
    assert asked != digest_of(tilts_deg=(-40, 0, 41))
    assert digest_of(tilt_max_deg=40, tilt_step_deg=20) == digest_of(tilts_deg=(-40, -20, 0, 20, 40))


def test_a_file_that_has_gone_is_named_when_a_data_set_is_gone_on_with(tmp_path):
    (tmp_path / "angles.tlt").write_text("-40\n-20\n0\n20\n40\n")
    own = config(models=1, imaging={"tilt_file": "angles.tlt"}, structure_folder=tmp_path)
    simulate_dataset(own, tmp_path / "set")
    (tmp_path / "angles.tlt").unlink()
    with pytest.raises(InputError, match=r"imaging: .*angles\.tlt does not exist"):
        simulate_dataset(own, tmp_path / "set")
