"""Side files of tilt series: what real programs wrote is read, and everything else is refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io.tilt_series import read_tilts, read_xf


def test_files_of_one_series_agree(shared_data):
    folder = shared_data / "tomograms/emp10499"
    plain = read_tilts(folder / "00254.tlt", images=41)
    warp = read_tilts(folder / "00254.xml", images=41)
    np.testing.assert_allclose(plain.tilts_deg, warp.tilts_deg, atol=0.02)
    assert plain.doses is None
    assert (warp.doses[20], warp.doses.max()) == (0, 120)
    np.testing.assert_allclose(warp.axis_angles_deg, -4.3, atol=1e-4)
    np.testing.assert_allclose(warp.axis_offsets[0], [-19.614283, 262.72888])
    assert warp.used.all()
    matrices, shifts = read_xf(folder / "00254.xf", images=41)
    np.testing.assert_allclose(matrices[0], [[0.9971855, -0.0749783], [0.0749783, 0.9971855]])
    np.testing.assert_allclose(shifts[0], [-27.094, -2.191])


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("picks/etomo/TS_001.tlt", 40, -57.12),
        ("picks/etomo/TS_001.rawtlt", 40, -60.0),
        ("picks/aretomo/test.rawtlt", 3, -66.0),
        ("picks/warp/TS_1.xml", 41, 40.01),
        ("picks/cryocat/TS_017/017.tlt", 60, -52.01),
        ("picks/cryocat/TS_017/017.xml", 60, -52.0),  # UTF-16
        ("picks/cryocat/TS_017/017.mdoc", 60, -52.0064),
        ("picks/mdoc/tilt_series.mdoc", 41, 0.000999877),
        ("simconfig/model_0.meta", 61, -59.995),
        ("simconfig/model_9.meta", 61, -59.995),
    ],
)
def test_real_files_are_read(shared_data, name, count, first):
    table = read_tilts(shared_data / name, images=count)
    assert len(table) == count
    assert table.tilts_deg[0] == pytest.approx(first)


def test_the_header_of_a_meta_file_says_which_column_holds_the_angles(tmp_path):
    (tmp_path / "a.meta").write_text("#data_\n#loop_\n#_TiltAngle (deg)\n#_FileName\n#\n -3.5 a.mrc\n 4 b.mrc\n")
    assert read_tilts(tmp_path / "a.meta").tilts_deg.tolist() == [-3.5, 4.0]


def test_mdoc_has_doses_only_where_they_were_recorded(shared_data):
    folder = shared_data / "picks"
    np.testing.assert_allclose(read_tilts(folder / "cryocat/TS_017/017.mdoc").doses[:2], [134.379, 132.14])
    assert read_tilts(folder / "mdoc/tilt_series.mdoc").doses is None


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.tlt", b"", "empty"),
        ("a.tlt", b"\n\n", "no numbers"),
        ("a.tlt", b"1.0\n2.0\n", "2 tilts for a stack of 3 images"),
        ("a.tlt", b"1.0\ntwo\n3.0\n", "line 2: 'two' is no number"),
        ("a.tlt", b"1.0\nnan\n3.0\n", "line 2: 'nan' is no number"),
        ("a.tlt", b"1.0 2.0\n", "line 1: 2 values; expected one angle"),
        ("a.tlt", b"1.0\n2.0\n180\n", "tilt 3 is 180.0; expected degrees"),
        ("a.tlt", b"\x89PNG\r\n\x00", "a PNG image"),
        ("a.rawtlt", b"\x80\x04abc", "pickle"),
        ("a.meta", b"1 2 3\n", "no header that names TiltAngle"),
        ("a.meta", b"#_DefocusU\n#_TiltAngle (deg)\n3\n", "line 3: 1 columns; its header names 2"),
        ("a.mdoc", b"PixelSpacing = 5.4\n", "no \\[ZValue"),
        ("a.mdoc", b"[ZValue = 0]\nStageZ = 1\n", "section 0 has no TiltAngle"),
        ("a.mdoc", b"[ZValue = 0]\nTiltAngle = x\n", "'x' is no number"),
        ("a.xml", b"1.0\n", "damaged XML"),
        ("a.xml", b"<?xml version='1.0'?><Angles>1</Angles>", "holds <Angles>; expected Warp's <TiltSeries>"),
        ("a.xml", b"<TiltSeries><Angles>1 2</Angles><Dose>3</Dose></TiltSeries>", "1 values of Dose for 2 Angles"),
        ("a.xml", b"<TiltSeries><Angles></Angles></TiltSeries>", "holds no tilt angles"),
        ("a.xml", b"<TiltSeries><Angles>1</Angles><UseTilt>yes</UseTilt></TiltSeries>", "UseTilt holds 'yes'"),
        ("a.xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><TiltSeries/>", "entities"),
        ("a.xml", b"\x1f\x8b\x08broken", "decompressed"),
        ("a.txt", b"1.0\n", "tilts are read from .tlt"),
        ("a.xf", b"1 0 0 1 0 0\n", "read by read_xf"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_tilts(tmp_path / name, images=3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1 0 0 1 0\n", "line 1: 5 values; expected A11 A12"),
        (b"1 0 0 1 0 0\n", "1 transforms for a stack of 3"),
        (b"1 0 0 1 0 0\n" * 2 + b"0 0 0 0 1 1\n", "line 3: the matrix cannot be inverted"),
    ],
)
def test_broken_transforms_are_refused(tmp_path, content, reason):
    (tmp_path / "a.xf").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_xf(tmp_path / "a.xf", images=3)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_tilts(tmp_path / "none.tlt")
