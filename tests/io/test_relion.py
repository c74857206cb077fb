"""RELION and Warp STAR files: known answers, generations told apart, own output read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.geometry import RelionCentre
from cryoembed.io import (
    TomogramInfo,
    read_particles,
    read_tomogram_info,
    read_tomograms_star,
    write_mrc,
    write_particles,
)
from cryoembed.io.relion_read import particles_from_star
from cryoembed.io.relion_write import relion5_blocks
from cryoembed.io.star import read_blocks
from cryoembed.particles import Particles
from cryoembed.rotations import from_relion_deg
from cryoembed.tomogram import Tomogram
from tests.test_rotations import relion_matrix

INFO = TomogramInfo(name="TS_01", size_zyx_px=(200, 400, 300), pixel_size=2.0, star_name="TS_01")
INFOS = {"TS_01": INFO, "TS_02": INFO.model_copy(update={"name": "TS_02", "star_name": "TS_02", "voltage": 200.0})}


def star(path: Path, columns: str, *rows: str, optics: str = "", block: str = "particles") -> Path:
    loop = "\n".join(f"_{name} #{i}" for i, name in enumerate(columns.split(), 1))
    text = f"\n# version 50001\n\ndata_{block}\n\nloop_ \n{loop}\n" + "\n".join(rows) + "\n \n"
    path.write_text(optics + text)
    return path


def optics(**columns: float) -> str:
    names = "\n".join(f"_{name} #{i}" for i, name in enumerate(columns, 1))
    return f"data_optics\n\nloop_\n{names}\n{' '.join(map(str, columns.values()))}\n"


def some(count: int = 5, seed: int = 0) -> Particles:
    generator = np.random.default_rng(seed)
    return Particles.from_arrays(
        ["TS_01", "TS_02"] * (count // 2) + ["TS_01"] * (count % 2),
        generator.uniform(-50, 800, (count, 3)),
        rotations=Rotation.random(count, rng=generator),
        label=(["ribosome", "", "26S proteasome"] * count)[:count],
        score=generator.normal(size=count),
        probability=generator.uniform(size=count),
        instance=np.arange(count),
        particle_id=[f"{i:016x}" for i in range(count)],
    )


def assert_same(again: Particles, particles: Particles, *columns: str, atol: float = 1e-3) -> None:
    np.testing.assert_allclose(again.positions_zyx, particles.positions_zyx, atol=atol)
    assert list(again.table["tomogram"]) == list(particles.table["tomogram"])
    if particles.rotations is not None:
        assert again.rotations is not None
        assert (again.rotations * particles.rotations.inv()).magnitude().max() < 1e-4
    for column in columns:
        expected = particles.table[column]
        if column in ("label", "instance", "particle_id"):
            assert list(again.table[column]) == list(expected)
        else:
            np.testing.assert_allclose(again.table[column], expected, atol=1e-5)


# --- RELION 5 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("centre", "middle"), [("n/2", (150.0, 200.0, 100.0)), ("n/2-1", (149.0, 199.0, 99.0))])
def test_relion_5_counts_angstrom_from_the_centre(
    tmp_path: Path, centre: RelionCentre, middle: tuple[float, float, float]
) -> None:
    path = star(tmp_path / "a.star", " ".join(f"rlnCenteredCoordinate{a}Angst" for a in "XYZ") + " rlnTomoName",
                "0 0 0 TS_01", "10 20 30 TS_01")  # fmt: skip
    x, y, z = (2.0 * value for value in middle)
    particles = read_particles(path, tomograms=INFOS, relion_centre=centre)
    np.testing.assert_allclose(particles.positions_zyx, [[z, y, x], [z + 30, y + 20, x + 10]])


def test_relion_5_without_sizes_says_what_to_pass(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", " ".join(f"rlnCenteredCoordinate{a}Angst" for a in "XYZ") + " rlnTomoName",
                "0 0 0 TS_77")  # fmt: skip
    with pytest.raises(InputError, match=r"'TS_77'.*known tomograms: TS_01, TS_02.*--tomograms-star"):
        read_particles(path, tomograms=INFOS)


def test_relion_5_shifts_are_turned_by_the_subtomogram(tmp_path: Path) -> None:
    columns = (
        "rlnTomoName rlnCenteredCoordinateXAngst rlnCenteredCoordinateYAngst rlnCenteredCoordinateZAngst "
        "rlnTomoSubtomogramRot rlnTomoSubtomogramTilt rlnTomoSubtomogramPsi rlnAngleRot rlnAngleTilt rlnAnglePsi "
        "rlnOriginXAngst rlnOriginYAngst rlnOriginZAngst"
    )
    path = star(tmp_path / "a.star", columns, "TS_01 10 20 30 30 40 50 11602.39 70 80 1.5 -2.5 3.5")
    particles = read_particles(path, tomograms=INFOS)
    expected_xyz = np.array([310.0, 420.0, 230.0]) - relion_matrix(30, 40, 50) @ [1.5, -2.5, 3.5]
    np.testing.assert_allclose(particles.positions_zyx[0], expected_xyz[::-1], atol=1e-9)
    turned = relion_matrix(30, 40, 50) @ relion_matrix(11602.39, 70, 80)
    assert particles.rotations is not None
    np.testing.assert_allclose(particles.rotations.as_matrix()[0], turned, atol=1e-6)


def test_shifts_without_subtomogram_angles_are_subtracted_as_they_are(tmp_path: Path) -> None:
    columns = (
        "rlnTomoName rlnCenteredCoordinateXAngst rlnCenteredCoordinateYAngst rlnCenteredCoordinateZAngst "
        "rlnAngleRot rlnAngleTilt rlnAnglePsi rlnOriginXAngst rlnOriginYAngst rlnOriginZAngst"
    )
    path = star(tmp_path / "a.star", columns, "TS_01 10 20 30 40 50 60 1 2 3")
    np.testing.assert_allclose(read_particles(path, tomograms=INFOS).positions_zyx, [[227, 418, 309]])


@pytest.mark.parametrize("centre", ["n/2", "n/2-1"])
def test_relion_5_output_reads_back(tmp_path: Path, centre: RelionCentre) -> None:
    particles = some()
    write_particles(tmp_path / "a.star", particles, tomograms=INFOS, relion_centre=centre)
    again = read_particles(tmp_path / "a.star", tomograms=INFOS, relion_centre=centre)
    assert_same(again, particles, "label", "score", "probability", "instance", "particle_id")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.star"]


def test_relion_5_output_has_what_relion_asks_for(tmp_path: Path) -> None:
    write_particles(tmp_path / "a.star", some(), tomograms=INFOS)
    blocks = read_blocks(tmp_path / "a.star")
    assert list(blocks) == ["optics", "particles"]
    optics_table, table = blocks["optics"], blocks["particles"]
    assert list(optics_table["rlnOpticsGroup"]) == [1, 2]
    assert list(optics_table["rlnVoltage"]) == [300, 200]
    for column in (
        "rlnOpticsGroupName",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
        "rlnTomoTiltSeriesPixelSize",
    ):
        assert column in optics_table
    assert list(table["rlnOpticsGroup"]) == [1, 2, 1, 2, 1]
    assert list(table["rlnTomoParticleName"]) == ["TS_01/1", "TS_02/1", "TS_01/2", "TS_02/2", "TS_01/3"]
    assert list(table["rlnClassNumber"]) == [1, 0, 2, 1, 0]
    assert {"rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"} <= set(table)
    assert "rlnAutopickFigureOfMerit" in table
    # RELION finds a label by the '#' behind it
    text = (tmp_path / "a.star").read_text()
    assert all("#" in line for line in text.splitlines() if line.startswith("_"))


def test_names_are_written_as_tomograms_star_spells_them(tmp_path: Path) -> None:
    info = INFO.model_copy(update={"star_name": "TS_01.tomostar"})
    write_particles(tmp_path / "a.star", Particles.from_arrays("TS_01", [[1, 2, 3]]), tomograms={"TS_01": info})
    assert list(read_blocks(tmp_path / "a.star")["particles"]["rlnTomoName"]) == ["TS_01.tomostar"]


def test_a_crop_is_written_in_its_own_frame_and_read_in_the_parents(tmp_path: Path) -> None:
    crop = INFO.model_copy(update={"origin": (720.0, 960.0, 480.0)})
    particles = Particles.from_arrays("TS_01", [[720.0, 960.0, 480.0]])
    table = relion5_blocks(particles, {"TS_01": crop}, "n/2")["particles"]
    assert list(table["rlnCenteredCoordinateZAngst"]) == [-200.0]
    write_particles(tmp_path / "a.star", particles, tomograms={"TS_01": crop})
    assert_same(read_particles(tmp_path / "a.star", tomograms={"TS_01": crop}), particles)


def test_a_tomogram_without_info_is_named_when_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'other'.*RELION 5 wants its size|'other'.*pixel size"):
        write_particles(tmp_path / "a.star", Particles.from_arrays("other", [[0, 0, 0]]), tomograms=INFOS)
    assert not list(tmp_path.iterdir())


def test_missing_scores_are_relions_unset_value(tmp_path: Path) -> None:
    particles = Particles.from_arrays("TS_01", np.zeros((2, 3)), score=[np.nan, 0.5])
    write_particles(tmp_path / "a.star", particles, tomograms=INFOS)
    assert read_blocks(tmp_path / "a.star")["particles"]["rlnAutopickFigureOfMerit"][0] == -999
    again = read_particles(tmp_path / "a.star", tomograms=INFOS).table["score"]
    assert np.isnan(again[0])
    assert again[1] == 0.5


@settings(max_examples=40)
@given(
    st.tuples(*[st.floats(-2000, 6000)] * 3),
    st.tuples(*[st.floats(0, 20000)] * 3),
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.sampled_from(["n/2", "n/2-1"]),
)
def test_any_relion_5_row_survives_reading_and_writing(
    centred: tuple[float, ...], angles: tuple[float, ...], shifts: tuple[float, ...], centre: RelionCentre
) -> None:
    names = [f"rlnCenteredCoordinate{a}Angst" for a in "XYZ"] + [
        f"rlnTomoSubtomogram{a}" for a in ("Rot", "Tilt", "Psi")
    ]
    row = dict(zip(names + [f"rlnOrigin{a}Angst" for a in "XYZ"], centred + angles + shifts, strict=True))
    table = pd.DataFrame([{"rlnTomoName": "TS_01", **row}])

    def read(from_table: pd.DataFrame) -> Particles:
        return particles_from_star(
            from_table, None, path=Path("a"), tomogram=None, voxel_size=None, infos=INFOS, relion_centre=centre
        )

    particles = read(table)
    assert_same(read(relion5_blocks(particles, INFOS, centre)["particles"]), particles, atol=1e-6)


# --- RELION 4, 3 and Warp ---------------------------------------------------------------------------------------------

XYZ = "rlnCoordinateX rlnCoordinateY rlnCoordinateZ"


@pytest.mark.parametrize("chosen", ["relion4", "warp"])
def test_pixel_formats_read_back(tmp_path: Path, chosen: str) -> None:
    particles = some()
    write_particles(tmp_path / "a.star", particles, tomograms=INFOS, format=chosen)
    assert_same(read_particles(tmp_path / "a.star"), particles, "label", "score", "particle_id")


def test_relion_4_output_is_unbinned_pixels(tmp_path: Path) -> None:
    write_particles(
        tmp_path / "a.star", Particles.from_arrays("TS_01", [[2.0, 4.0, 7.0]]), tomograms=INFOS, format="relion4"
    )
    table = read_blocks(tmp_path / "a.star")["particles"]
    assert list(table[XYZ.split()].iloc[0]) == [3.5, 2.0, 1.0]


def test_warp_output_names_tomostars_and_its_pixel_size(tmp_path: Path) -> None:
    write_particles(tmp_path / "a.star", some(), tomograms=INFOS, format="warp")
    table = read_blocks(tmp_path / "a.star")["particles"]
    assert set(table["rlnMicrographName"]) == {"TS_01.tomostar", "TS_02.tomostar"}
    assert set(table["rlnDetectorPixelSize"]) == {2.0}


def test_relion_4_counts_pixels_of_the_tilt_series(tmp_path: Path) -> None:
    text = optics(rlnOpticsGroup=1, rlnTomoTiltSeriesPixelSize=1.5, rlnTomoSubtomogramBinning=4, rlnImagePixelSize=6)
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ} rlnOpticsGroup", "TS_01 10 20 30 1", optics=text)
    np.testing.assert_allclose(read_particles(path).positions_zyx, [[45, 30, 15]])


def test_warp_counts_pixels_of_what_it_exports(tmp_path: Path) -> None:
    text = optics(rlnOpticsGroup=1, rlnTomoTiltSeriesPixelSize=1.5, rlnTomoSubtomogramBinning=4, rlnImagePixelSize=6)
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ} rlnOpticsGroup", "TS_01.tomostar 10 20 30 1", optics=text)
    particles = read_particles(path)
    np.testing.assert_allclose(particles.positions_zyx, [[180, 120, 60]])
    assert particles.tomograms == ["TS_01"]


def test_each_particle_takes_the_pixel_size_of_its_own_optics_group(tmp_path: Path) -> None:
    text = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnTomoTiltSeriesPixelSize #2\n1 1.5\n2 3.0\n"
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ} rlnOpticsGroup", "A 1 1 1 2", "B 1 1 1 1", optics=text)
    np.testing.assert_allclose(read_particles(path).positions_zyx[:, 0], [3.0, 1.5])


def test_relion_3_magnification_gives_the_pixel_size(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", f"rlnMicrographName {XYZ} rlnMagnification rlnDetectorPixelSize",
                "tomo.mrc 1 2 3 20000 14", block="")  # fmt: skip
    np.testing.assert_allclose(read_particles(path).positions_zyx, [[21, 14, 7]])


def test_shifts_in_pixels_are_scaled(tmp_path: Path) -> None:
    columns = f"rlnMicrographName {XYZ} rlnPixelSize rlnOriginX rlnOriginY rlnOriginZ"
    path = star(tmp_path / "a.star", columns, "tomo 10 20 30 2.0 1 2 3")
    np.testing.assert_allclose(read_particles(path).positions_zyx, [[54, 36, 18]])


def test_unknown_pixel_size_asks_for_it_and_takes_it(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ}", "TS_01 1 2 3")
    with pytest.raises(InputError, match="pass --voxel-size"):
        read_particles(path)
    np.testing.assert_allclose(read_particles(path, voxel_size=5.0).positions_zyx, [[15, 10, 5]])
    np.testing.assert_allclose(read_particles(path, tomograms=INFOS).positions_zyx, [[6, 4, 2]])


def test_a_binned_tomogram_is_not_taken_for_the_unbinned_pixel_size(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ}", "TS_01 1 2 3")
    binned = Tomogram(np.zeros((4, 4, 4)), 10.0, "TS_01")
    with pytest.raises(InputError, match="pass --voxel-size"):
        read_particles(path, tomogram=binned)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("TS_01.tomostar", "TS_01"),
        ("/data/reconstruction/TS_01.mrc.tomostar", "TS_01"),
        ("tomo_ts01.mrc_15.00Apx.mrc", "tomo_ts01.mrc_15.00Apx"),
        ("rec/TS_001_aligned.st:mrc", "TS_001_aligned"),
        ("00254", "00254"),
        ("1006", "1006"),
    ],
)
def test_tomogram_names_are_cleaned_and_stay_text(tmp_path: Path, written: str, name: str) -> None:
    path = star(tmp_path / "a.star", f"rlnMicrographName {XYZ} rlnPixelSize", f"{written} 1 2 3 1.0")
    assert read_particles(path).tomograms == [name]


def test_a_file_without_names_takes_the_one_given(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", f"{XYZ} rlnPixelSize", "1 2 3 1.0")
    with pytest.raises(InputError, match="pass --tomogram NAME"):
        read_particles(path)
    assert read_particles(path, tomogram="TS_09").tomograms == ["TS_09"]


# --- syntax and trouble -----------------------------------------------------------------------------------------------


def test_byte_order_mark_tabs_and_unnamed_block(tmp_path: Path) -> None:
    text = "\ufeffdata_ \n\nloop_\n" + "".join(f"_{n}\t#{i}\n" for i, n in enumerate([*XYZ.split(), "rlnPixelSize"], 1))
    (tmp_path / "a.star").write_text(text + "1\t2\t3\t1.0\r\n4  5  6  1.0", encoding="utf-8")
    particles = read_particles(tmp_path / "a.star", tomogram="A")
    np.testing.assert_array_equal(particles.positions_zyx, [[3, 2, 1], [6, 5, 4]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("TS_01 1 2 3 1.0", "TS_01 1 2 3 1.0 7 8"), "STAR block cannot be read"),
        (("TS_01 1 2 <NA> 1.0",), "position is not a finite number"),
        (("TS_01 1 2 three 1.0",), "not numbers"),
        (("TS_01 1 2 3 0.0",), "pixel size 0 A is not positive"),
    ],
)
def test_bad_rows_are_refused_with_the_files_name(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ} rlnPixelSize", *rows)
    with pytest.raises(InputError, match=message) as refusal:
        read_particles(path)
    assert "a.star" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_two_blocks_of_positions_are_not_chosen_between(tmp_path: Path) -> None:
    columns = f"rlnTomoName {XYZ} rlnPixelSize"
    first = star(tmp_path / "b.star", columns, "A 1 2 3 1.0", block="one").read_text()
    path = star(tmp_path / "a.star", columns, "A 1 2 3 1.0", block="two", optics=first)
    with pytest.raises(InputError, match=r"several blocks hold positions \(one, two\)"):
        read_particles(path)


def test_an_empty_table_has_no_particles(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", f"rlnTomoName {XYZ} rlnPixelSize")
    assert len(read_particles(path)) == 0


def test_an_optimisation_set_leads_to_its_particles_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "Picks").mkdir()
    columns = "rlnTomoName rlnTomoSizeX rlnTomoSizeY rlnTomoSizeZ rlnTomoTiltSeriesPixelSize"
    star(tmp_path / "tomograms.star", columns, "TS_01.tomostar 300 400 200 2.0", block="global")
    centred = " ".join(f"rlnCenteredCoordinate{a}Angst" for a in "XYZ")
    star(tmp_path / "Picks" / "particles.star", f"rlnTomoName {centred}", "TS_01.tomostar 0 0 0")
    text = "data_\n\n_rlnTomoParticlesFile   Picks/particles.star\n_rlnTomoTomogramsFile   tomograms.star\n"
    (tmp_path / "Picks" / "optimisation_set.star").write_text(text)
    particles = read_particles(tmp_path / "Picks" / "optimisation_set.star")
    np.testing.assert_allclose(particles.positions_zyx, [[200, 400, 300]])
    assert particles.tomograms == ["TS_01"]


def test_tomograms_star_keeps_sizes_optics_and_spelling(tmp_path: Path) -> None:
    columns = "rlnTomoName rlnTomoSizeX rlnTomoSizeY rlnTomoSizeZ rlnTomoTiltSeriesPixelSize"
    columns += " rlnVoltage rlnTomoTomogramBinning"
    path = star(tmp_path / "tomograms.star", columns, "TS_01.tomostar 300 400 200 2.0 200 7.4", block="global")
    info = read_tomograms_star(path)["TS_01"]
    assert (info.size_zyx_px, info.pixel_size, info.voltage, info.cs) == ((200, 400, 300), 2.0, 200.0, 2.7)
    assert info.relion_name == "TS_01.tomostar"


def test_a_tilt_series_star_is_no_tomograms_star(tmp_path: Path) -> None:
    path = star(tmp_path / "a.star", "rlnTomoName rlnVoltage", "TS_01 300", block="global")
    with pytest.raises(InputError, match="missing rlnTomoTiltSeriesPixelSize, rlnTomoSizeZ"):
        read_tomograms_star(path)


def test_info_comes_from_a_header_or_a_tomogram(tmp_path: Path) -> None:
    write_mrc(tmp_path / "TS_01.mrc", np.zeros((2, 3, 4), np.float32), 10.0)
    info = read_tomogram_info(tmp_path / "TS_01.mrc")
    assert (info.name, info.size_zyx_px, info.pixel_size, info.relion_name) == ("TS_01", (2, 3, 4), 10.0, "TS_01")
    tomogram = Tomogram(np.zeros((2, 3, 4)), 10.0, "TS_01", (1.0, 2.0, 3.0))
    assert TomogramInfo.of(tomogram, voltage=200.0) == info.model_copy(
        update={"origin": (1.0, 2.0, 3.0), "voltage": 200.0}
    )


def test_unknown_relion_centre_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 'n/2' or 'n/2-1'"):
        write_particles(tmp_path / "a.star", some(), tomograms=INFOS, relion_centre="half")  # type: ignore[arg-type]


def test_labels_with_blanks_and_quotes_do_not_break_the_file(tmp_path: Path) -> None:
    particles = Particles.from_arrays("TS_01", np.zeros((2, 3)), label=['5\' "cap" #1', "b"])
    write_particles(tmp_path / "a.star", particles, tomograms=INFOS)
    assert list(read_particles(tmp_path / "a.star", tomograms=INFOS).labels) == ["5 cap 1", "b"]


def test_the_same_picks_leave_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.star", "b.star"):
        write_particles(tmp_path / name, some(), tomograms=INFOS)
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()


def test_relion_angles_written_give_back_the_rotation_relion_would_use(tmp_path: Path) -> None:
    particles = some(3)
    write_particles(tmp_path / "a.star", particles, tomograms=INFOS)
    table = read_blocks(tmp_path / "a.star")["particles"]
    angles = table[["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]].to_numpy()
    assert particles.rotations is not None
    assert (from_relion_deg(angles) * particles.rotations.inv()).magnitude().max() < 1e-6
