"""`convert`: from format to format, with the sizes it needs and one closing line."""

from pathlib import Path

import numpy as np
import pytest

from cryoembed.config import load_config
from cryoembed.errors import InputError
from cryoembed.io import TomogramInfo, read_particles, write_mrc, write_particles
from cryoembed.particles import Particles
from cryoembed.recipes.convert import ConvertConfig, convert

PICKS = "tomogram,z,y,x,label,score\nTS_01,10,20,30,ribosome,0.5\nTS_01,40,50,60,ribosome,0.25\n"


@pytest.fixture
def picks(tmp_path: Path) -> Path:
    path = tmp_path / "picks.csv"
    path.write_text(PICKS)
    return path


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    path = tmp_path / "TS_01.mrc"
    write_mrc(path, np.zeros((20, 40, 30), np.int8), 20.0)
    return path


def test_csv_to_relion_5_and_back(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    line = convert(ConvertConfig(picks=picks, out=tmp_path / "a.star", tomogram=str(tomogram)))
    assert line == f"kept 2 particles in 1 tomogram, skipped none; written to {tmp_path / 'a.star'}"
    convert(ConvertConfig(picks=tmp_path / "a.star", out=tmp_path / "b.csv", tomogram=str(tomogram)))
    again, particles = read_particles(tmp_path / "b.csv"), read_particles(picks)
    np.testing.assert_allclose(again.positions_zyx, particles.positions_zyx, atol=1e-3)
    assert list(again.labels) == list(particles.labels)


def test_sizes_come_from_tomograms_star(tmp_path: Path, picks: Path) -> None:
    columns = ["rlnTomoName", "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ", "rlnTomoTiltSeriesPixelSize"]
    loop = "\n".join(f"_{name} #{i}" for i, name in enumerate(columns, 1))
    (tmp_path / "tomograms.star").write_text(f"data_global\n\nloop_\n{loop}\nTS_01.tomostar 300 400 200 2.0\n")
    config = ConvertConfig(picks=picks, out=tmp_path / "a.star", tomograms_star=tmp_path / "tomograms.star")
    convert(config)
    assert "TS_01.tomostar" in (tmp_path / "a.star").read_text()
    convert(config.model_copy(update={"picks": tmp_path / "a.star", "out": tmp_path / "b.csv"}))
    np.testing.assert_allclose(
        read_particles(tmp_path / "b.csv").positions_zyx, [[10, 20, 30], [40, 50, 60]], atol=1e-3
    )


@pytest.mark.parametrize("to", ["relion4", "warp", "parquet", "coords"])
def test_other_formats(tmp_path: Path, picks: Path, tomogram: Path, to: str) -> None:
    out = tmp_path / f"out.{'star' if to in ('relion4', 'warp') else to}"
    convert(load_config(ConvertConfig, flags={"picks": picks, "out": out, "to": to, "tomogram": str(tomogram)}))
    again = read_particles(out, voxel_size=20.0 if to == "coords" else None)
    np.testing.assert_allclose(again.positions_zyx, [[10, 20, 30], [40, 50, 60]], atol=1e-3)


def test_coords_are_in_voxels_of_the_tomogram_not_in_unbinned_pixels(
    tmp_path: Path, picks: Path, tomogram: Path
) -> None:
    (tmp_path / "in.coords").write_text("1 2 3\n")
    columns = ["rlnTomoName", "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ", "rlnTomoTiltSeriesPixelSize"]
    loop = "\n".join(f"_{name} #{i}" for i, name in enumerate(columns, 1))
    (tmp_path / "tomograms.star").write_text(f"data_global\n\nloop_\n{loop}\nTS_01 300 400 200 2.0\n")
    config = ConvertConfig(
        picks=tmp_path / "in.coords",
        out=tmp_path / "out.csv",
        tomogram=str(tomogram),
        tomograms_star=tmp_path / "tomograms.star",
    )
    convert(config)
    np.testing.assert_array_equal(read_particles(tmp_path / "out.csv").positions_zyx, [[60, 40, 20]])
    with pytest.raises(InputError, match="voxels; pass --voxel-size"):
        convert(config.model_copy(update={"tomogram": "TS_01"}))
    with pytest.raises(InputError, match="voxels of a tomogram; pass --voxel-size"):
        convert(ConvertConfig(picks=picks, out=tmp_path / "b.coords", tomograms_star=tmp_path / "tomograms.star"))


def test_nothing_to_convert_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").write_text("tomogram,z,y,x\n")
    with pytest.raises(InputError, match="holds no particles; nothing was written"):
        convert(ConvertConfig(picks=tmp_path / "picks.csv", out=tmp_path / "a.parquet"))
    assert not (tmp_path / "a.parquet").exists()


def test_a_missing_size_names_tomogram_and_option(tmp_path: Path, picks: Path) -> None:
    with pytest.raises(InputError, match=r"'TS_01'.*--tomograms-star"):
        convert(ConvertConfig(picks=picks, out=tmp_path / "a.star"))
    assert not (tmp_path / "a.star").exists()


def test_relion_centre_moves_picks_by_one_pixel(tmp_path: Path) -> None:
    info = TomogramInfo(name="TS_01", size_zyx_px=(20, 40, 30), pixel_size=20.0)
    write_particles(tmp_path / "a.star", Particles.from_arrays("TS_01", [[100, 100, 100]]), tomograms={"TS_01": info})
    write_mrc(tmp_path / "TS_01.mrc", np.zeros((20, 40, 30), np.int8), 20.0)
    config = ConvertConfig(picks=tmp_path / "a.star", out=tmp_path / "b.csv", tomogram=str(tmp_path / "TS_01.mrc"))
    convert(config.model_copy(update={"relion_centre": "n/2-1"}))
    np.testing.assert_allclose(read_particles(tmp_path / "b.csv").positions_zyx, [[80, 80, 80]], atol=1e-3)


def test_unknown_format_and_centre_are_refused_by_the_config(tmp_path: Path, picks: Path) -> None:
    for flags in ({"to": "relion6"}, {"relion_centre": "half"}):
        with pytest.raises(InputError, match=r"relion6|half"):
            load_config(ConvertConfig, flags={"picks": picks, "out": tmp_path / "a.star", **flags})
