"""csv, parquet, .coords and .cbox: known answers and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import TomogramInfo, read_particles, write_particles
from cryoembed.io.csv import read_csv
from cryoembed.particles import Particles
from cryoembed.tomogram import Tomogram
from tests.io.test_relion import INFOS, assert_same, some


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_and_byte_order_mark(tmp_path: Path, separator: str, mark: str) -> None:
    text = mark + "tomogram,x,y,z,score\r\n00254,1.5,2,3,0.5\r\n00254,4,5,6,0.25\r\n".replace(",", separator)
    particles = read_particles(written(tmp_path / "a.csv", text))
    assert particles.tomograms == ["00254"]
    np.testing.assert_array_equal(particles.positions_zyx, [[3, 2, 1.5], [6, 5, 4]])
    np.testing.assert_array_equal(particles.table["score"], [0.5, 0.25])


def test_columns_are_angstrom_whatever_the_voxel_size(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "tomogram,z,y,x\nA,10,20,30\n")
    np.testing.assert_array_equal(read_particles(path, voxel_size=7.0).positions_zyx, [[10, 20, 30]])


def test_voxel_columns_are_multiplied(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "tomogram,z_vox,y_vox,x_vox\nA,1,2,3\n")
    np.testing.assert_array_equal(read_particles(path, voxel_size=7.0).positions_zyx, [[7, 14, 21]])
    with pytest.raises(InputError, match="in voxels; pass --voxel-size"):
        read_particles(path)


def test_napari_points_are_zyx_voxels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "index,axis-0,axis-1,axis-2\n0,1,2,3\n")
    np.testing.assert_array_equal(read_particles(path, voxel_size=10.0, tomogram="A").positions_zyx, [[10, 20, 30]])


def test_czii_columns_are_known(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,experiment,particle_type,x,y,z\n0,TS_5_4,ribosome,1,2,3\n")
    particles = read_particles(path)
    assert (particles.tomograms, list(particles.labels)) == (["TS_5_4"], ["ribosome"])


def test_numeric_labels_stay_as_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "tomogram,z,y,x,label\n01,1,2,3,007\n01,1,2,3,\n")
    particles = read_particles(path)
    assert (particles.tomograms, list(particles.labels)) == (["01"], ["007", ""])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("1,2,3\n4,5,6\n", "no header line.*order of its axes"),
        ("tomogram,z,y\nA,1,2\n", "missing x among the columns tomogram,z,y"),
        ("z,y,x\n1,2,3\n", "pass --tomogram NAME"),
        ("tomogram,z,y,x\nA,1,here,3\n", "'y' holds values that are not numbers"),
        ("tomogram,z,y,x\nA,1,,3\n", "not a finite number"),
        ("tomogram,z,y,x\nA,1,2,3\nA,1,2,3,4,5\n", "cannot be read as a table"),
    ],
)
def test_bad_csv_is_refused_with_the_files_name(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=message) as refusal:
        read_particles(path)
    assert "a.csv" in str(refusal.value)


def test_a_header_alone_is_no_particles(tmp_path: Path) -> None:
    assert len(read_particles(written(tmp_path / "a.csv", "tomogram,z,y,x\n"))) == 0


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_read_back_with_every_column(tmp_path: Path, suffix: str) -> None:
    particles = some().with_columns(remark="kept")
    write_particles(tmp_path / f"a{suffix}", particles)
    again = read_particles(tmp_path / f"a{suffix}")
    assert_same(again, particles, "label", "score", "probability", "instance", "particle_id", atol=0)
    assert list(again.table.columns) == list(particles.table.columns)
    assert list(again.table["remark"]) == ["kept"] * 5


def test_a_broken_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_particles(path, some())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a readable parquet table"):
        read_particles(path)


def test_tomotwin_coords_are_x_y_z(tmp_path: Path) -> None:
    path = written(tmp_path / "TS_01.coords", "1 2 3\n4.5 5 6\n")
    particles = read_particles(path, voxel_size=10.0)
    assert particles.tomograms == ["TS_01"]
    np.testing.assert_array_equal(particles.positions_zyx, [[30, 20, 10], [60, 50, 45]])


def test_deepetpicker_coords_begin_with_the_class(tmp_path: Path) -> None:
    particles = read_particles(written(tmp_path / "a.coords", "2\t1\t2\t3\n1\t4\t5\t6\n"), voxel_size=10.0)
    np.testing.assert_array_equal(particles.positions_zyx, [[30, 20, 10], [60, 50, 40]])
    assert list(particles.labels) == ["2", "1"]


def test_coords_take_voxel_size_and_frame_of_the_tomogram(tmp_path: Path) -> None:
    crop = Tomogram(np.zeros((4, 4, 4)), 10.0, "TS_01", (720.0, 960.0, 960.0))
    particles = read_particles(written(tmp_path / "a.coords", "1 2 3\n"), tomogram=crop)
    assert particles.tomograms == ["TS_01"]
    np.testing.assert_array_equal(particles.positions_zyx, [[750, 980, 970]])


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2 3\n1 2 3 4\n", "expected 'X Y Z'"), ("1 2\n", "expected 'X Y Z'"), ("a b c\n", "numbers")],
)
def test_bad_coords_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_particles(written(tmp_path / "a.coords", text), voxel_size=10.0)


def test_coords_without_a_voxel_size_ask_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass --voxel-size"):
        read_particles(written(tmp_path / "a.coords", "1 2 3\n"))


def test_coords_read_back(tmp_path: Path) -> None:
    particles = some().of("TS_01")
    write_particles(tmp_path / "TS_01.coords", particles, tomograms=INFOS)
    again = read_particles(tmp_path / "TS_01.coords", voxel_size=INFOS["TS_01"].pixel_size)
    np.testing.assert_allclose(again.positions_zyx, particles.positions_zyx, atol=1e-3)


def test_coords_hold_one_tomogram(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds one tomogram, these picks have 2"):
        write_particles(tmp_path / "a.coords", some(), tomograms=INFOS)
    with pytest.raises(InputError, match="voxel size is needed"):
        write_particles(tmp_path / "a.coords", Particles.from_arrays("A", [[1, 2, 3]]))


def test_cbox_corner_and_centre_slice(tmp_path: Path) -> None:
    header = ["CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth", "Confidence"]
    loop = "\n".join(f"_{name} #{i}" for i, name in enumerate(header, 1))
    text = f"data_global\n\n_cbox_format_version 1.0\n\ndata_cryolo\n\nloop_\n{loop}\n10 20 30 8 6 9 0.7\n"
    particles = read_particles(written(tmp_path / "TS_01.cbox", text), voxel_size=2.0)
    np.testing.assert_array_equal(particles.positions_zyx, [[60, 46, 28]])
    assert particles.table["score"][0] == np.float32(0.7)


@pytest.mark.parametrize("name", ["a.tloc", "a.csv", "a.star", "a.coords", "a.parquet", "a.anything"])
def test_a_pickle_is_never_opened_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04\x95\x10\x00cos\nsystem\n")
    with pytest.raises(InputError, match="Python pickle"):
        read_particles(tmp_path / name)


def test_an_old_text_pickle_is_known_by_its_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Python pickle"):
        read_particles(written(tmp_path / "a.tloc", "cos\nsystem\n"))


@pytest.mark.parametrize("name", ["a.mod", "a", "a.json"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected \.star \.csv"):
        read_particles(written(tmp_path / name, "hello"))
    with pytest.raises(InputError, match=r"expected suffix \.star \.csv"):
        write_particles(tmp_path / name, some())


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="relion5 relion4 warp"):
        write_particles(tmp_path / "a.star", some(), tomograms=INFOS, format="relion6")


def test_missing_file_and_binary_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_particles(tmp_path / "none.star")
    (tmp_path / "a.csv").write_bytes(b"a\x00b" * 100)
    with pytest.raises(InputError, match="binary file"):
        read_particles(tmp_path / "a.csv")


def test_size_of_the_tomogram_serves_relion_5(tmp_path: Path) -> None:
    tomogram = Tomogram(np.zeros((20, 40, 30)), 20.0, "TS_01")
    particles = Particles.from_arrays("TS_01", [[10.0, 20.0, 30.0]])
    write_particles(tmp_path / "a.star", particles, tomograms={"TS_01": TomogramInfo.of(tomogram)})
    assert_same(read_particles(tmp_path / "a.star", tomogram=tomogram), particles)


def test_protein_names_that_look_like_nothing_stay_names(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_text("tomogram,z,y,x,label,score\nNA,1,2,3,NA,0.5\nT,1,2,3,None,\n")
    picks = read_csv(path)
    assert picks.labels.tolist() == ["NA", "None"]
    assert picks.tomograms == ["NA", "T"]
    assert np.isnan(picks.column("score", 0.0)[1])


def test_voxel_columns_take_the_frame_of_their_tomogram(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_text("tomogram,z_vox,y_vox,x_vox\na,1,2,3\nb,1,2,3\n")
    picks = read_csv(path, voxel_size=10.0, origins={"b": (700.0, 0.0, 5.0)})
    np.testing.assert_allclose(picks.positions_zyx, [[10, 20, 30], [710, 20, 35]])


def test_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_text("tomogram,z,y,x,label,particle_type\na,1,2,3,p,q\n")
    with pytest.raises(InputError, match="several columns mean label"):
        read_csv(path)
